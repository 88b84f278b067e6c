// How the source proves itself to the API server and has the server prove itself: tokens, certificates; and that no
// answer grows without bound.
#include <optional>

#include "tests/unit/controlplane/kube/cluster_source_fixture.h"

namespace sluice::kube {
namespace {

TEST_F(ClusterSourceTest, ExpiredTokenIsReadAgainFromItsFile) {
  ClusterAccess with = access();
  with.token_file = folder.write("token", "first\n");
  server.command({{"op", "tokens"}, {"accept", {"first"}}});
  start(with);
  expect_synced();
  ASSERT_FALSE(HasFailure());
  server.command({{"op", "tokens"}, {"accept", {"second"}}});
  server.command({{"op", "cut"}});
  change_everything();
  run_for(std::chrono::milliseconds(300));
  folder.write("token", "second\n");
  expect_healthy("a rotated token");
}

TEST_F(ClusterSourceTest, AnotherAuthoritysCertificateIsNotSpokenTo) {
  start();
  expect_synced();
  ASSERT_FALSE(HasFailure());
  const auto other = sluice::testkit::make_certificate("apiserver", "IP:127.0.0.1");
  const std::string certificate = folder.write("other.crt", other.certificate),
                    key = folder.write("other.key", other.key);
  server.command({{"op", "certificate"}, {"cert", certificate}, {"key", key}});
  server.command({{"op", "requests"}});
  server.command({{"op", "cut"}});
  change_everything();
  run_for(std::chrono::milliseconds(500));
  EXPECT_EQ(requests_with("GET"), 0u) << "no byte of HTTP before the certificate is verified";
  server.command({{"op", "certificate"}, {"cert", server.ca_file}, {"key", server.key_file}});
  expect_healthy("a wrong certificate");
}

TEST_F(ClusterSourceTest, TheNameInTheCertificateCounts) {
  ClusterAccess with = access();
  with.tls_server_name = "other.example";
  start(with);
  run_for(std::chrono::milliseconds(300));
  EXPECT_EQ(synced, 0);
  EXPECT_EQ(requests_with("GET"), 0u);
  stop();
  with.tls_server_name = "kubernetes.default.svc";
  start(with);
  expect_synced();
  ASSERT_FALSE(HasFailure());
}

TEST_F(ClusterSourceTest, SystemAuthoritiesDoNotCountWhenOneIsNamedAndNoneIsNotTrust) {
  ClusterAccess with = access();
  with.ca_file.clear();
  start(with);
  run_for(std::chrono::milliseconds(300));
  EXPECT_EQ(synced, 0);
  EXPECT_EQ(requests_with("GET"), 0u);
}

TEST(ClientCertificate, IsPresented) {
  log::set_level(log::Level::off);
  TempFolder folder;
  const auto client = sluice::testkit::make_certificate("gateway", "");
  FakeApiServer server(folder, client.certificate);
  boost::asio::io_context io;
  ClusterAccess access;
  access.server = server.url();
  access.ca_file = server.ca_file;
  for (const bool with_certificate : {false, true}) {
    if (with_certificate) {
      access.certificate_pem = client.certificate;
      access.key_pem = SecretBytes(client.key);
    }
    auto transport = make_transport(io, access);
    ASSERT_TRUE(transport.has_value()) << transport.error().message;
    std::optional<Result<Reply>> reply;
    (*transport)
        ->send({.method = Method::get,
                .target = "/version",
                .accept = "application/json",
                .content_type = {},
                .body = {},
                .max_body = 1 << 20},
               [&](Result<Reply> got) { reply = std::move(got); });
    const auto work = boost::asio::make_work_guard(io);  // else run_for returns at once
    for (int i = 0; i < 1000 && !reply; ++i) {
      io.restart();
      io.run_for(std::chrono::milliseconds(10));
    }
    ASSERT_TRUE(reply.has_value());
    EXPECT_EQ(reply->has_value() && (*reply)->status == 200, with_certificate);
    (*transport)->shutdown();
  }
}

TEST_F(ClusterSourceTest, AnswersOverTheirLimitAreCutOff) {
  put(kPaths[5], "large", {{"data", {{"k", std::string(300'000, 'x')}}}});
  auto made = make_transport(io, access());
  ASSERT_TRUE(made.has_value());
  std::optional<Result<Reply>> reply;
  Call call;
  call.target = "/api/v1/namespaces/a/configmaps/large";
  call.max_body = 100'000;
  (*made)->send(std::move(call), [&](Result<Reply> got) { reply = std::move(got); });
  ASSERT_TRUE(run_until([&] { return reply.has_value(); }));
  ASSERT_FALSE(reply->has_value());
  EXPECT_THAT(reply->error().message, ::testing::HasSubstr("100000 bytes"));
  (*made)->shutdown();
}

}  // namespace
}  // namespace sluice::kube
