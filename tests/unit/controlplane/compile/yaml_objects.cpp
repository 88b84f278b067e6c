#include "tests/unit/controlplane/compile/yaml_objects.h"

#include <fstream>
#include <sstream>
#include <stdexcept>

#include "common/base/log.h"
#include "controlplane/kube/decode/decode.h"

namespace sluice::test {
namespace {

std::string slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("cannot read " + path);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

}  // namespace

void to_json(const YAML::Node& node, std::string& out) {
  switch (node.Type()) {
    case YAML::NodeType::Undefined:
    case YAML::NodeType::Null:
      out += "null";
      return;
    case YAML::NodeType::Scalar: {
      const std::string& text = node.Scalar();
      int64_t number = 0;
      bool flag = false;
      if (node.Tag() != "!" && YAML::convert<int64_t>::decode(node, number)) {
        out += std::to_string(number);
      } else if (node.Tag() != "!" && (text == "true" || text == "false") && YAML::convert<bool>::decode(node, flag)) {
        out += text;
      } else {
        out += '"';
        log::append_json_escaped(out, text);
        out += '"';
      }
      return;
    }
    case YAML::NodeType::Sequence: {
      out += '[';
      bool first = true;
      for (const auto& item : node) {
        if (!std::exchange(first, false)) out += ',';
        to_json(item, out);
      }
      out += ']';
      return;
    }
    case YAML::NodeType::Map: {
      out += '{';
      bool first = true;
      for (const auto& item : node) {
        if (!std::exchange(first, false)) out += ',';
        out += '"';
        log::append_json_escaped(out, item.first.Scalar());
        out += "\":";
        to_json(item.second, out);
      }
      out += '}';
      return;
    }
  }
}

namespace {

store::ObjectKey key_of(const std::string& text) {
  const size_t slash = text.find('/');
  return {text.substr(0, slash), text.substr(slash + 1)};
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
    else if (key == "allowExternalName") o.allow_external_name = value.as<bool>();
    else if (key == "allowLoopback") o.allow_loopback_endpoints = value.as<bool>();
    else if (key == "sslRedirect") o.ssl_redirect = value.as<bool>();
    else if (key == "allowTestFilters") o.allow_test_filters = value.as<bool>();
    else if (key == "watchNamespaces") o.watch_namespaces = value.as<std::vector<std::string>>();
    else if (key == "httpsPort" && value.IsNull()) o.https_port.reset();
    else if (key == "bind") o.bind = value.as<std::vector<std::string>>();
    else if (key == "now") out.now = value.as<int64_t>();
    else throw std::runtime_error("unknown option " + key);
  }
}

}  // namespace

void put(store::Snapshot& s, store::Object object) {
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
        else s.routes[key] = shared;
      },
      std::move(object));
}

void read_documents(const std::string& yaml, const std::string& dir, Objects& out) {
  for (YAML::Node document : YAML::LoadAll(yaml)) {
    if (!document || document.IsNull()) continue;
    if (document["kind"].Scalar() == "Options") {
      read_options(document, out);
      if (document["base"].as<bool>(false)) read_documents(slurp(dir + "/base.yaml"), dir, out);
      continue;
    }
    if (document["kind"].Scalar() == "Secret" && document["stringData"]) {
      for (auto entry : document["stringData"]) {
        if (entry.second.Scalar().starts_with("@")) entry.second = slurp(dir + "/" + entry.second.Scalar().substr(1));
      }
    }
    std::string json;
    to_json(document, json);
    // A Secret of which only the metadata is known, as a metadata watch delivers it.
    const bool partial = document["kind"].Scalar() == "PartialObjectMetadata";
    auto decoded = partial ? kube::decode_as(store::Kind::secret, json) : kube::decode(json);
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
