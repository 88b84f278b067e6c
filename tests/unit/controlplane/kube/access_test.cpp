#include "controlplane/kube/access.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "controlplane/kube/tls_files.h"
#include "tests/lib/fake_apiserver.h"

namespace sluice::kube {
namespace {

using testing::HasSubstr;

// `cluster` and `user`: the inside of the two mappings.
std::string config(const std::string& cluster, const std::string& user) {
  return "apiVersion: v1\nkind: Config\ncurrent-context: main\nclusters: [{name: c, cluster: {" + cluster +
         "}}]\nusers: [{name: me, user: {" + user +
         "}}]\ncontexts:\n- {name: main, context: {cluster: c, user: me, namespace: shop}}\n- {name: anonymous, "
         "context: {cluster: c}}\n- {name: lost, context: {cluster: "
         "gone, user: me}}\n";
}
constexpr const char* kServer = "server: 'https://api.example:6443/'";

std::string error_of(const std::string& cluster, const std::string& user, const std::string& context = {}) {
  const auto access = parse_kubeconfig(config(cluster, user), "/etc/kube/config", context);
  return access ? "no error" : access.error().message;
}

TEST(Kubeconfig, FilesAreRelativeToIt) {
  const auto access =
      parse_kubeconfig(config(std::string(kServer) + ", certificate-authority: ca.crt, tls-server-name: kubernetes",
                              "client-certificate: me/me.crt, client-key: /abs/me.key, tokenFile: ../token"),
                       "/etc/kube/config");
  ASSERT_TRUE(access.has_value()) << access.error().message;
  EXPECT_EQ(access->server, "https://api.example:6443");
  EXPECT_EQ(access->tls_server_name, "kubernetes");
  EXPECT_EQ(access->ca_file, "/etc/kube/ca.crt");
  EXPECT_EQ(access->certificate_file, "/etc/kube/me/me.crt");
  EXPECT_EQ(access->key_file, "/abs/me.key");
  EXPECT_EQ(access->token_file, "/etc/token");
  EXPECT_EQ(access->ns, "shop");
}

TEST(Kubeconfig, InlineDataIsDecodedAndWinsOverFiles) {
  const auto access = parse_kubeconfig(
      config(std::string(kServer) + ", certificate-authority-data: 'Q0E=', certificate-authority: ca.crt",
             "client-certificate-data: Q0VSVA==, client-key-data: \"S0\\nVZ\", token: abc"),
      "config");
  ASSERT_TRUE(access.has_value()) << access.error().message;
  EXPECT_EQ(access->ca_pem, "CA");
  EXPECT_EQ(access->ca_file, "");
  EXPECT_EQ(access->certificate_pem, "CERT");
  EXPECT_EQ(access->key_pem.reveal(), "KEY");
  EXPECT_EQ(access->token.reveal(), "abc");
}

TEST(Kubeconfig, ContextsAreChosenByName) {
  const auto access = parse_kubeconfig(config(kServer, "token: abc"), "config", "anonymous");
  ASSERT_TRUE(access.has_value());
  EXPECT_TRUE(access->token.empty());
  EXPECT_THAT(error_of(kServer, "token: abc", "nope"), HasSubstr("contexts has no entry named \"nope\""));
  EXPECT_THAT(error_of(kServer, "token: abc", "lost"), HasSubstr("clusters has no entry named \"gone\""));
}

TEST(Kubeconfig, ProgramsAreRefusedNamingUserAndFile) {
  for (const char* what : {"exec: {command: aws}", "auth-provider: {name: gcp}"}) {
    const std::string error = error_of(kServer, what);
    EXPECT_THAT(error, HasSubstr("/etc/kube/config"));
    EXPECT_THAT(error, HasSubstr("users[name=me]"));
    EXPECT_THAT(error, HasSubstr("refused"));
  }
}

TEST(Kubeconfig, WhatWouldWeakenTlsIsRefused) {
  EXPECT_THAT(error_of(std::string(kServer) + ", insecure-skip-tls-verify: true", ""),
              HasSubstr("insecure-skip-tls-verify is refused"));
  EXPECT_THAT(error_of("server: 'http://api.example'", ""), HasSubstr("plain http"));
  EXPECT_THAT(error_of(std::string(kServer) + ", proxy-url: 'http://p'", ""), HasSubstr("proxy-url"));
  EXPECT_THAT(error_of("server: 'https://user@api.example'", ""), HasSubstr("no plain https address"));
  EXPECT_THAT(error_of("server: 'https://[::1]:6443'", ""), HasSubstr("IPv6"));
}

TEST(Kubeconfig, MistakesNameTheFieldAndTheFile) {
  EXPECT_THAT(error_of("", ""), HasSubstr("clusters[name=c].cluster.server: no server address"));
  EXPECT_THAT(error_of(kServer, "client-certificate: a.crt"), HasSubstr("certificate without a client key"));
  EXPECT_THAT(error_of(std::string(kServer) + ", certificate-authority-data: '!!'", ""),
              HasSubstr("certificate-authority-data is not base64"));
  EXPECT_THAT(error_of(kServer, "username: a, password: b"), HasSubstr("username is not supported"));
  for (const char* text : {"", "[]", "a: [", "3", "current-context: x", "current-context: x\ncontexts: 7",
                           "contexts: [1]\ncurrent-context: a"}) {
    const auto access = parse_kubeconfig(text, "/f");
    ASSERT_FALSE(access.has_value()) << text;
    EXPECT_THAT(access.error().message, HasSubstr("/f")) << text;
  }
  EXPECT_THAT(load_kubeconfig("/does/not/exist").error().message, HasSubstr("/does/not/exist"));
}

TEST(InCluster, NeedsTheServiceAccountsFiles) {
  sluice::testkit::TempFolder folder;
  setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1", 1);
  setenv("KUBERNETES_SERVICE_PORT", "443", 1);
  EXPECT_THAT(in_cluster_access(folder / "").error().message, HasSubstr("ca.crt"));
  folder.write("ca.crt", "x");
  EXPECT_THAT(in_cluster_access(folder / "").error().message, HasSubstr("token"));
  folder.write("token", "t");
  folder.write("namespace", "sluice\n");
  auto access = in_cluster_access(folder / "");
  ASSERT_TRUE(access.has_value()) << access.error().message;
  EXPECT_EQ(access->server, "https://10.0.0.1:443");
  EXPECT_EQ(access->ns, "sluice");
  setenv("KUBERNETES_SERVICE_HOST", "fd00::1", 1);
  EXPECT_EQ(in_cluster_access(folder / "")->server, "https://kubernetes.default.svc:443");
  unsetenv("KUBERNETES_SERVICE_HOST");
  EXPECT_THAT(in_cluster_access(folder / "").error().message, HasSubstr("not in a cluster"));
}

TEST(TokenFile, IsReadAgainAndKeptWhenItIsGone) {
  sluice::testkit::TempFolder folder;
  const std::string path = folder.write("token", "one\n");
  TokenFile token(SecretBytes(), path);
  EXPECT_EQ(token.current()->reveal(), "one");
  folder.write("token", "second");
  EXPECT_EQ(token.current()->reveal(), "second");
  folder.write("token", "two words");
  EXPECT_FALSE(token.current().has_value());
  std::filesystem::remove(path);
  EXPECT_EQ(token.current()->reveal(), "second");
  EXPECT_FALSE(TokenFile(SecretBytes(), folder / "none").current().has_value());
}

TEST(TlsFiles, BrokenFilesAreNamed) {
  sluice::testkit::TempFolder folder;
  const auto one = sluice::testkit::make_certificate("a", ""), other = sluice::testkit::make_certificate("b", "");
  ClusterAccess access;
  access.ca_file = folder.write("ca.crt", "no pem");
  EXPECT_THAT(check_tls_files(access).error().message, HasSubstr("ca.crt: no authority certificate"));
  access.ca_file = folder.write("ca.crt", one.certificate);
  EXPECT_TRUE(check_tls_files(access).has_value());
  access.certificate_file = folder.write("me.crt", one.certificate);
  access.key_file = folder.write("me.key", other.key);
  EXPECT_THAT(check_tls_files(access).error().message, HasSubstr("me.key: does not belong to"));
  access.key_file = folder / "none.key";
  EXPECT_THAT(check_tls_files(access).error().message, HasSubstr("none.key: cannot be read"));
  access.key_file = folder.write("me.key", one.key);
  EXPECT_TRUE(check_tls_files(access).has_value());
}

}  // namespace
}  // namespace sluice::kube
