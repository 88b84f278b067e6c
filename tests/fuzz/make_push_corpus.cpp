// Writes the seeds of table_fuzz and push_frame_fuzz: make_push_corpus FOLDER (tests/fuzz/corpus). Run it after a
// change of the schema or of a frame.
#include <cstring>
#include <fstream>
#include <memory>
#include <string>

#include "common/ir/push_frame.h"
#include "common/ir/route_table_generated.h"
#include "dataplane/sync/messages.h"

namespace {
using namespace sluice;

void write(const std::string& path, char first, const void* data, size_t size) {
  std::ofstream out(path, std::ios::binary);
  out.put(first);
  out.write(static_cast<const char*>(data), static_cast<std::streamsize>(size));
}

template <class Root>
void write_part(const std::string& path, ir::PartKind kind, const typename Root::NativeTableType& root) {
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(Root::Pack(builder, &root));
  write(path, static_cast<char>(kind), builder.GetBufferPointer(), builder.GetSize());
}

// Every kind of key, a network that is not counted, a shadow.
ir::RateLimitT rate_limit() {
  ir::RateLimitT config;
  for (const char* id : {"ns/policy/a", "ns/policy/b"}) {
    auto limit = std::make_unique<ir::LimitT>();
    limit->id = id;
    limit->name = "policy";
    limit->requests = limit->burst = 10;
    limit->per_ms = 1000;
    limit->shadow = limit->skip_missing = id[10] == 'b';
    for (int kind = 0; kind < 3; ++kind) {
      auto key = std::make_unique<ir::LimitKeyT>();
      key->kind = static_cast<ir::LimitKeyKind>(limit->shadow ? kind + 3 : kind);
      if (key->kind == ir::LimitKeyKind::Header || key->kind == ir::LimitKeyKind::Cookie) key->name = "x-key";
      limit->keys.push_back(std::move(key));
    }
    auto cidr = std::make_unique<ir::CidrT>();
    cidr->address = std::make_unique<ir::EndpointAddress>(0, 0xffff0a000000);
    cidr->bits = 104;
    limit->exempt.push_back(std::move(cidr));
    config.limits.push_back(std::move(limit));
  }
  return config;
}

std::unique_ptr<ir::RouteT> route(int i) {
  auto route = std::make_unique<ir::RouteT>();
  route->origin = std::make_unique<ir::OriginT>();
  route->origin->kind = "Route";
  route->origin->name = "r" + std::to_string(i);
  route->path = i % 2 == 0 ? "/a" : "";
  route->path_kind = i == 3 ? ir::PathKind::Regex : i % 2 == 0 ? ir::PathKind::Exact : ir::PathKind::Prefix;
  route->methods = {"GET"};
  auto header = std::make_unique<ir::HeaderMatchT>();
  header->name = "x-env";
  header->value = "blue";
  route->headers.push_back(std::move(header));
  auto filter = std::make_unique<ir::FilterT>();
  if (i % 2 == 0) {
    ir::RequestHeadersT edits;
    edits.edits = std::make_unique<ir::HeaderEditsT>();
    auto value = std::make_unique<ir::HeaderValueT>();
    value->name = "x-a";
    value->value = "1";
    edits.edits->set.push_back(std::move(value));
    edits.edits->remove = {"x-b"};
    filter->config.Set(std::move(edits));
  } else {
    ir::RewriteT rewrite;
    rewrite.path_kind = ir::RewriteKind::PrefixPath;
    rewrite.path = "/b";
    filter->config.Set(std::move(rewrite));
  }
  route->filters.push_back(std::move(filter));
  if (i == 0) {
    auto limits = std::make_unique<ir::FilterT>();
    limits->config.Set(rate_limit());
    route->filters.push_back(std::move(limits));
  }
  if (i == 1) {
    ir::RedirectT redirect;
    redirect.scheme = "https";
    redirect.status = 308;
    route->action.Set(std::move(redirect));
  } else if (i == 2) {
    ir::DirectResponseT response;
    response.status = 200;
    response.body = "hello";
    route->action.Set(std::move(response));
  } else {
    ir::ForwardT forward;
    auto backend = std::make_unique<ir::BackendT>();
    backend->cluster = "ns/web/80";
    forward.backends.push_back(std::move(backend));
    route->action.Set(std::move(forward));
  }
  if (i != 2) route->upgrades = {"websocket", "x"};
  if (i == 0) route->priority = ir::Priority::Critical;
  route->retry = std::make_unique<ir::RetryT>();
  route->retry->statuses = {502, 503};
  return route;
}

ir::RouteTableT table() {
  ir::VirtualHostT host;
  host.host = "a.example";
  for (int i = 0; i < 4; ++i) host.routes.push_back(route(i));
  auto exact = std::make_unique<ir::PathEntryT>(), prefix = std::make_unique<ir::PathEntryT>();
  exact->path = "/a";
  exact->routes = {0, 2};
  prefix->routes = {1};
  host.exact.push_back(std::move(exact));
  host.prefix.push_back(std::move(prefix));
  host.regex = {3};
  flatbuffers::FlatBufferBuilder inner;
  inner.Finish(ir::VirtualHost::Pack(inner, &host));
  ir::RouteTableT table;
  table.schema_version = ir::kSchemaVersion;
  auto ref = std::make_unique<ir::VirtualHostRefT>();
  ref->host = host.host;
  ref->data.assign(inner.GetBufferPointer(), inner.GetBufferPointer() + inner.GetSize());
  table.hosts.push_back(std::move(ref));
  for (const char* name : {"ns/api/80", "ns/web/80"}) {
    auto cluster = std::make_unique<ir::ClusterT>();
    cluster->name = name;
    cluster->tls = std::make_unique<ir::UpstreamTlsT>();
    if (table.clusters.empty()) cluster->protocol = ir::UpstreamProtocol::H2;
    table.clusters.push_back(std::move(cluster));
  }
  for (const char* name : {"http", "https"}) {
    auto listener = std::make_unique<ir::ListenerT>();
    listener->name = name;
    listener->addresses = {"127.0.0.1", "::1"};
    table.listeners.push_back(std::move(listener));
  }
  table.settings = std::make_unique<ir::SettingsT>();
  table.settings->limits = std::make_unique<ir::LimitSettingsT>();
  table.settings->limits->min_body_rate = 240;
  table.settings->tls = std::make_unique<ir::TlsSettingsT>();
  table.settings->http2 = std::make_unique<ir::Http2SettingsT>();
  table.settings->http2->concurrent_streams = 250;
  auto cidr = std::make_unique<ir::CidrT>();
  cidr->address = std::make_unique<ir::EndpointAddress>(0, 0xffff0a000000);
  cidr->bits = 104;
  table.settings->trusted_proxies.push_back(std::move(cidr));
  auto tls = std::make_unique<ir::TlsHostT>();
  tls->host = "a.example";
  tls->certificate = "ns/a";
  table.tls_hosts.push_back(std::move(tls));
  return table;
}

void write_parts(const std::string& folder) {
  // The same table as a shard, and a head that has some.
  ir::RouteTableT shard = table(), head = table();
  shard.listeners.clear();
  shard.settings.reset();
  head.hosts.clear();
  head.clusters.clear();
  head.tls_hosts.clear();
  for (uint64_t i = 0; i < 4; ++i) head.shards.emplace_back(i, i, 4096);
  write_part<ir::RouteTable>(folder + "/shard", ir::PartKind::shard, shard);
  write_part<ir::RouteTable>(folder + "/head", ir::PartKind::table, head);
  write_part<ir::RouteTable>(folder + "/table_full", ir::PartKind::table, table());
  ir::RouteTableT empty;
  empty.schema_version = ir::kSchemaVersion;
  write_part<ir::RouteTable>(folder + "/table_empty", ir::PartKind::table, empty);
  ir::EndpointSetT endpoints;
  endpoints.schema_version = ir::kSchemaVersion;
  for (const char* name : {"ns/api/80", "ns/web/80"}) {
    auto cluster = std::make_unique<ir::ClusterEndpointsT>();
    cluster->name = name;
    for (uint64_t i = 1; i < 4; ++i) {
      auto endpoint = std::make_unique<ir::EndpointT>();
      endpoint->address = std::make_unique<ir::EndpointAddress>(0, 0xffff0a000000 + i);
      endpoint->port = 8080;
      endpoint->zone = "z";
      cluster->endpoints.push_back(std::move(endpoint));
    }
    endpoints.clusters.push_back(std::move(cluster));
  }
  write_part<ir::EndpointSet>(folder + "/endpoints", ir::PartKind::endpoints, endpoints);
  ir::SecretSetT secrets;
  secrets.schema_version = ir::kSchemaVersion;
  for (const char* id : {"ns/a", "ns/b"}) {
    auto certificate = std::make_unique<ir::CertificateT>();
    certificate->id = id;
    certificate->chain_pem = "chain";
    certificate->key_pem = "key";
    secrets.certificates.push_back(std::move(certificate));
  }
  auto key = std::make_unique<ir::TicketKeyT>();
  key->key.assign(80, 1);
  secrets.ticket_keys.push_back(std::move(key));
  write_part<ir::SecretSet>(folder + "/secrets", ir::PartKind::secrets, secrets);
}

void write_frames(const std::string& folder) {
  for (uint16_t type = 1; type <= 7; ++type) {
    ir::PushFrame frame;
    frame.type = static_cast<ir::FrameType>(type);
    frame.id = {1, 2};
    if (frame.type == ir::FrameType::report) {
      frame.workers_ready = frame.workers_total = 2;
      frame.listeners = 1;
      std::strcpy(frame.bound[0].name, "http");
    }
    if (frame.type == ir::FrameType::need) frame.need_shards = {0xff, 1};
    if (frame.type == ir::FrameType::part) {
      frame.part = ir::PartKind::shard;
      frame.shard = 127;
    }
    write(folder + "/frame_" + std::to_string(type), 0, &frame, sizeof frame);
  }
  for (uint16_t type = 1; type <= static_cast<uint16_t>(sync::MessageType::reopen); ++type) {
    sync::Message message;
    message.type = static_cast<sync::MessageType>(type);
    message.listener_count = 2;
    message.workers_wanted = 3;
    std::strcpy(message.listeners[0].name, "http");
    write(folder + "/message_" + std::to_string(type), 1, &message, sizeof message);
  }
}
}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  write_parts(std::string(argv[1]) + "/table");
  write_frames(std::string(argv[1]) + "/push_frame");
  return 0;
}
