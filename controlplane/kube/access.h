// Where the API server is and how we prove who we are: the values a kubeconfig or a Pod's service account give. Read
// once at start; files named here (token, CA, certificate, key) are read again by the transport when they change,
// because projected tokens and certificates rotate. Never: exec plugins, auth providers, skipped verification, plain
// http.
#pragma once
#include <string>
#include <string_view>

#include "common/base/result.h"
#include "common/base/secret.h"

namespace sluice::kube {

struct ClusterAccess {
  std::string server;  // https://host[:port][/prefix], no trailing slash
  std::string
      tls_server_name;  // name checked in the server's certificate instead of the URL's host; empty = the URL's host
  std::string ca_pem, ca_file;  // at most one; none = the system's authorities
  std::string certificate_pem, certificate_file;
  SecretBytes key_pem;
  std::string key_file;
  SecretBytes token;
  std::string token_file;  // wins over `token`, as in client-go
  std::string ns;          // default namespace of the context or of the Pod
};

// `context` empty = current-context. `path` is named in every message; relative file names in it are relative to its
// folder.
[[nodiscard]] Result<ClusterAccess> load_kubeconfig(const std::string& path, const std::string& context = {});
[[nodiscard]] Result<ClusterAccess> parse_kubeconfig(const std::string& text, const std::string& path,
                                                     const std::string& context = {});

// KUBERNETES_SERVICE_HOST/_PORT and the files of the service account below `root`.
inline constexpr const char* kServiceAccountFolder = "/var/run/secrets/kubernetes.io/serviceaccount";
[[nodiscard]] Result<ClusterAccess> in_cluster_access(const std::string& root = kServiceAccountFolder);

// Checks a server URL and brings it into the form above.
[[nodiscard]] Result<std::string> check_server_url(std::string_view url);

}  // namespace sluice::kube
