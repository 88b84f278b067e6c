#include "tests/unit/controlplane/compile/yaml_objects.h"

#include <fstream>
#include <sstream>
#include <stdexcept>

#include <yaml-cpp/yaml.h>

#include "common/base/log.h"
#include "controlplane/config/option_table.h"
#include "controlplane/kube/decode/decode.h"
#include "controlplane/source/yaml_json.h"

namespace sluice::test {
namespace {

std::string slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("cannot read " + path);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

// "@certs/a.crt" in a Secret becomes the file's text.
std::string with_files(std::string json, const std::string& dir) {
  for (size_t at = json.find("\"@certs/"); at != std::string::npos; at = json.find("\"@certs/", at + 1)) {
    const size_t end = json.find('"', at + 1);
    std::string text = "\"";
    log::append_json_escaped(text, slurp(dir + "/" + json.substr(at + 2, end - at - 2)));
    json.replace(at, end - at, text);
  }
  return json;
}

store::ObjectKey key_of(const std::string& text) {
  const size_t slash = text.find('/');
  return {text.substr(0, slash), text.substr(slash + 1)};
}

void read_ranges(const YAML::Node& list, std::vector<config::AddressRange>& out) {
  for (const auto& cidr : list) {
    const auto parsed = config::parse_cidr(cidr.Scalar());
    if (!parsed) throw std::runtime_error(parsed.error().message);
    out.push_back({parsed->address->high(), parsed->address->low(), parsed->bits});
  }
}

// NAME: {addresses: [...], error: ...}, as the resolver tells them.
void read_names(const YAML::Node& map, store::Snapshot& out) {
  for (const auto& name : map) {
    auto resolved = std::make_shared<store::ResolvedName>();
    if (name.second["addresses"]) resolved->addresses = name.second["addresses"].as<std::vector<std::string>>();
    if (name.second["error"]) resolved->error = name.second["error"].Scalar();
    out.names[name.first.Scalar()] = std::move(resolved);
  }
}

void read_options(const YAML::Node& node, Objects& out) {
  config::Options& o = out.options;
  for (const auto& entry : node) {
    const std::string key = entry.first.Scalar();
    const YAML::Node& value = entry.second;
    if (key == "kind" || key == "base") continue;
    else if (key == "hostOwnership")
      o.host_ownership = value.Scalar() == "shared" ? config::Options::HostOwnership::shared
                                                    : config::Options::HostOwnership::per_namespace;
    else if (key == "defaultBackend")
      o.default_backend = config::ServiceTarget{key_of(value["service"].Scalar()), value["port"].as<uint16_t>(0)};
    else if (key == "defaultCertificate") o.default_certificate = key_of(value.Scalar());
    else if (key == "ticketKeysSecret") o.ticket_keys_secret = key_of(value.Scalar());
    else if (key == "allowExternalName") o.allow_external_name = value.as<bool>();
    else if (key == "allowLoopback") o.allow_loopback_endpoints = value.as<bool>();
    else if (key == "sslRedirect") o.ssl_redirect = value.as<bool>();
    else if (key == "allowTestFilters") o.allow_test_filters = value.as<bool>();
    else if (key == "watchNamespaces") o.watch_namespaces = value.as<std::vector<std::string>>();
    else if (key == "classPolicyNamespaces") o.class_policy_namespaces = value.as<std::vector<std::string>>();
    else if (key == "ownNamespace") o.own_namespace = value.Scalar();
    else if (key == "classPoliciesAnywhere") o.class_policies_anywhere = value.as<bool>();
    else if (key == "httpsPort" && value.IsNull()) o.https_port.reset();
    else if (key == "bind") o.bind = value.as<std::vector<std::string>>();
    else if (key == "externalNameCidrs") read_ranges(value, o.external_name_ranges);
    else if (key == "names") read_names(value, out.snapshot);
    else if (key == "programmed") out.programmed = value.as<bool>();
    else if (key == "now") out.now = value.as<int64_t>();
    else throw std::runtime_error("unknown option " + key);
  }
}

}  // namespace

void put(store::Snapshot& s, store::Object object) {
  ++s.kind_versions[static_cast<size_t>(store::kind_of(object))];
  std::visit(
      [&s](auto&& typed) {
        using T = std::decay_t<decltype(typed)>;
        auto shared = std::make_shared<const T>(std::move(typed));
        const store::ObjectKey key = shared->meta.key();
        if constexpr (std::is_same_v<T, store::Ingress>) s.ingresses[key] = shared;
        else if constexpr (std::is_same_v<T, store::IngressClass>) s.ingress_classes[key] = shared;
        else if constexpr (std::is_same_v<T, store::Service>) s.services[key] = shared;
        else if constexpr (std::is_same_v<T, store::EndpointSlice>) s.endpoint_slices[key] = shared;
        else if constexpr (std::is_same_v<T, store::Secret>) s.secrets[key] = shared;
        else if constexpr (std::is_same_v<T, store::ConfigMap>) s.config_maps[key] = shared;
        else if constexpr (std::is_same_v<T, store::Namespace>) s.namespaces[key] = shared;
        else if constexpr (std::is_same_v<T, store::Route>) s.routes[key] = shared;
        else s.rate_limit_policies[key] = shared;
      },
      std::move(object));
}

void read_documents(const std::string& yaml, const std::string& dir, Objects& out) {
  const auto documents = source::yaml_to_json(yaml);
  if (!documents) throw std::runtime_error(documents.error().message);
  for (const auto& document : *documents) {
    const YAML::Node node = YAML::Load(document.json);  // JSON is YAML
    const std::string kind = node["kind"].Scalar();
    if (kind == "Options") {
      read_options(node, out);
      if (node["base"] && node["base"].as<bool>()) read_documents(slurp(dir + "/base.yaml"), dir, out);
      continue;
    }
    const std::string json = with_files(document.json, dir);
    // A Secret of which only the metadata is known, as a metadata watch delivers it.
    auto decoded = kind == "PartialObjectMetadata" ? kube::decode_as(store::Kind::secret, json) : kube::decode(json);
    if (!decoded) throw std::runtime_error(decoded.error().message);
    out.undecodable.insert(out.undecodable.end(), decoded->problems.begin(), decoded->problems.end());
    if (decoded->object) put(out.snapshot, std::move(*decoded->object));
  }
}

Objects read_objects(const std::string& yaml, const std::string& dir) {
  Objects out;
  out.options.http_port = 80;
  out.options.https_port = 443;
  read_documents(yaml, dir, out);
  return out;
}

}  // namespace sluice::test
