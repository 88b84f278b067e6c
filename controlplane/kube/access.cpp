#include "controlplane/kube/access.h"

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

#include <yaml-cpp/yaml.h>

namespace sluice::kube {
namespace {

constexpr size_t kMaxFile = 1 << 20;

Result<std::string> read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return fail("{}: cannot be read: {}", path, std::strerror(errno));
  std::string text(kMaxFile + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(in.gcount()));
  if (text.size() > kMaxFile) return fail("{}: larger than 1 MiB", path);
  return text;
}

int base64_value(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

// RFC 4648 section 4; line breaks are allowed because people wrap these fields.
std::optional<std::string> base64(std::string_view text) {
  std::string out;
  uint32_t bits = 0;
  int have = 0, pad = 0;
  size_t digits = 0;
  for (char c : text) {
    if (c == '\n' || c == '\r' || c == ' ') continue;
    ++digits;
    if (c == '=') {
      ++pad;
      continue;
    }
    const int value = base64_value(c);
    if (value < 0 || pad > 0) return std::nullopt;
    bits = bits << 6 | static_cast<uint32_t>(value);
    have += 6;
    if (have >= 8) {
      have -= 8;
      out += static_cast<char>(bits >> have & 0xFF);
    }
  }
  if (digits % 4 != 0 || pad > 2) return std::nullopt;
  return out;
}

std::string text_of(const YAML::Node& node, const char* key) {
  const YAML::Node value = node[key];
  return value && value.IsScalar() ? value.Scalar() : std::string();
}

// The entry called `name` in a kubeconfig's list, e.g. clusters[] / cluster.
Result<YAML::Node> named(const YAML::Node& root, const char* list, const char* field, const std::string& name,
                         const std::string& path) {
  const YAML::Node entries = root[list];
  if (entries && entries.IsSequence()) {
    for (const auto& entry : entries) {
      if (!entry.IsMap() || text_of(entry, "name") != name) continue;
      YAML::Node value = entry[field];
      if (!value || value.IsNull()) return YAML::Node(YAML::NodeType::Map);
      if (!value.IsMap()) return fail("{}: {}[name={}].{} is no mapping", path, list, name, field);
      return value;
    }
  }
  return fail("{}: {} has no entry named \"{}\"", path, list, name);
}

// KEY-data (base64) or KEY (file name) -> pem or file.
Status data_or_file(const YAML::Node& node, const std::string& key, const std::string& where, const std::string& folder,
                    std::string& pem, std::string& file) {
  if (const std::string data = text_of(node, (key + "-data").c_str()); !data.empty()) {
    auto decoded = base64(data);
    if (!decoded || decoded->empty()) return fail("{}.{}-data is not base64", where, key);
    pem = std::move(*decoded);
  } else if (std::string name = text_of(node, key.c_str()); !name.empty()) {
    file = (std::filesystem::path(folder) / name).lexically_normal().string();  // an absolute name stays as it is
  }
  return {};
}

Status read_cluster(const YAML::Node& cluster, const std::string& where, const std::string& folder,
                    ClusterAccess& out) {
  auto server = check_server_url(text_of(cluster, "server"));
  if (!server) return fail("{}.server: {}", where, server.error().message);
  out.server = std::move(*server);
  if (text_of(cluster, "insecure-skip-tls-verify") == "true") {
    return fail(
        "{}.insecure-skip-tls-verify is refused: the API server hands out private keys and must be verified; name its "
        "authority in "
        "certificate-authority or certificate-authority-data",
        where);
  }
  if (!text_of(cluster, "proxy-url").empty()) return fail("{}.proxy-url is not supported", where);
  out.tls_server_name = text_of(cluster, "tls-server-name");
  return data_or_file(cluster, "certificate-authority", where, folder, out.ca_pem, out.ca_file);
}

Status read_user(const YAML::Node& user, const std::string& where, const std::string& folder, ClusterAccess& out) {
  for (const char* refused : {"exec", "auth-provider"}) {
    if (user[refused] && !user[refused].IsNull()) {
      return fail(
          "{}.{} is refused: no program is run to get credentials; use a token, a tokenFile or a client certificate",
          where, refused);
    }
  }
  for (const char* refused : {"username", "password", "as", "as-uid", "as-groups"}) {
    if (user[refused] && !user[refused].IsNull()) return fail("{}.{} is not supported", where, refused);
  }
  std::string key_pem;
  if (auto ok = data_or_file(user, "client-certificate", where, folder, out.certificate_pem, out.certificate_file); !ok)
    return ok;
  if (auto ok = data_or_file(user, "client-key", where, folder, key_pem, out.key_file); !ok) return ok;
  out.key_pem = SecretBytes(std::move(key_pem));
  const bool certificate = !out.certificate_pem.empty() || !out.certificate_file.empty();
  const bool key = !out.key_pem.empty() || !out.key_file.empty();
  if (certificate != key)
    return fail("{} has a client {} without a client {}", where, certificate ? "certificate" : "key",
                certificate ? "key" : "certificate");
  out.token = SecretBytes(text_of(user, "token"));
  if (std::string name = text_of(user, "tokenFile"); !name.empty()) {
    out.token_file = (std::filesystem::path(folder) / name).lexically_normal().string();
  }
  return {};
}

Result<ClusterAccess> parse(const std::string& text, const std::string& path, const std::string& wanted_context) {
  const YAML::Node root = YAML::Load(text);
  if (!root.IsMap()) return fail("{}: not a kubeconfig (no mapping)", path);
  const std::string name = wanted_context.empty() ? text_of(root, "current-context") : wanted_context;
  if (name.empty()) return fail("{}: current-context is not set and no context was named", path);
  const auto context = named(root, "contexts", "context", name, path);
  if (!context) return std::unexpected(context.error());
  ClusterAccess out;
  out.ns = text_of(*context, "namespace");
  std::string folder = std::filesystem::path(path).parent_path().string();
  if (folder.empty()) folder = ".";
  const std::string cluster_name = text_of(*context, "cluster"), user_name = text_of(*context, "user");
  const auto cluster = named(root, "clusters", "cluster", cluster_name, path);
  if (!cluster) return std::unexpected(cluster.error());
  if (auto ok = read_cluster(*cluster, fmt::format("{}: clusters[name={}].cluster", path, cluster_name), folder, out);
      !ok) {
    return std::unexpected(ok.error());
  }
  if (user_name.empty()) return out;
  const auto user = named(root, "users", "user", user_name, path);
  if (!user) return std::unexpected(user.error());
  if (auto ok = read_user(*user, fmt::format("{}: users[name={}].user", path, user_name), folder, out); !ok)
    return std::unexpected(ok.error());
  return out;
}

}  // namespace

Result<std::string> check_server_url(std::string_view url) {
  constexpr std::string_view kHttps = "https://";
  if (url.empty()) return fail("no server address");
  if (url.starts_with("http://")) return fail("\"{}\" is plain http; only https is spoken to an API server", url);
  if (!url.starts_with(kHttps)) return fail("\"{}\" does not begin with https://", url.substr(0, 200));
  while (url.ends_with('/')) url.remove_suffix(1);
  const std::string_view rest = url.size() > kHttps.size() ? url.substr(kHttps.size()) : std::string_view{};
  if (rest.empty() || rest.starts_with('/') || rest.starts_with(':'))
    return fail("\"{}\" names no host", url.substr(0, 200));
  if (rest.starts_with('['))
    return fail("\"{}\": an IPv6 literal cannot be used here; give the API server's DNS name", url.substr(0, 200));
  for (char c : rest) {
    if (c <= ' ' || c >= 0x7F || c == '@' || c == '?' || c == '#' || c == '\\')
      return fail("\"{}\" is no plain https address", url.substr(0, 200));
  }
  return std::string(url);
}

Result<ClusterAccess> parse_kubeconfig(const std::string& text, const std::string& path, const std::string& context) {
  try {
    return parse(text, path, context);
  } catch (const YAML::Exception& error) {
    return fail("{}:{}: {}", path, error.mark.line + 1, error.msg);
  }
}

Result<ClusterAccess> load_kubeconfig(const std::string& path, const std::string& context) {
  auto text = read_file(path);
  if (!text) return std::unexpected(text.error());
  return parse_kubeconfig(*text, path, context);
}

Result<ClusterAccess> in_cluster_access(const std::string& root) {
  const char* host = std::getenv("KUBERNETES_SERVICE_HOST");
  const char* port = std::getenv("KUBERNETES_SERVICE_PORT");
  if (host == nullptr || *host == '\0')
    return fail("not in a cluster: KUBERNETES_SERVICE_HOST is not set; name a kubeconfig file");
  const std::string port_text = port != nullptr && *port != '\0' ? port : "443";
  ClusterAccess out;
  // The REST library cannot resolve a bracketed IPv6 literal; the Service's name is in every API server certificate.
  const bool ipv6 = std::string_view(host).find(':') != std::string_view::npos;
  auto server = check_server_url(fmt::format("https://{}:{}", ipv6 ? "kubernetes.default.svc" : host, port_text));
  if (!server) return fail("KUBERNETES_SERVICE_HOST/PORT: {}", server.error().message);
  out.server = std::move(*server);
  out.ca_file = root + "/ca.crt";
  out.token_file = root + "/token";
  for (const std::string& file : {out.ca_file, out.token_file}) {
    if (auto text = read_file(file); !text) return std::unexpected(text.error());
  }
  if (auto ns = read_file(root + "/namespace")) {
    out.ns = std::move(*ns);
    while (!out.ns.empty() && (out.ns.back() == '\n' || out.ns.back() == ' ')) out.ns.pop_back();
  }
  return out;
}

}  // namespace sluice::kube
