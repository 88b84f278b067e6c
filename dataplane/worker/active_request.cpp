#include "dataplane/worker/active_request.h"

#include <charconv>
#include <cstring>
#include <utility>

#include "common/base/clock.h"
#include "dataplane/filters/rewrite/rewrite.h"
#include "dataplane/worker/silence.h"

namespace sluice::worker {
namespace {
using http::Reason;

http::LocalReply as_reply(const FixedAnswer& answer) {
  http::LocalReply reply;
  reply.reason = answer.reason;
  reply.status = answer.status;
  reply.content_type = answer.content_type;
  reply.body = answer.body;
  return reply;
}

std::string_view view_of(const flatbuffers::String* text) {
  return text == nullptr ? std::string_view() : std::string_view(text->data(), text->size());
}

bool has_encoded_slash(std::string_view path) { return path.find("%2F") != std::string_view::npos; }

bool equal_without_case(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) {
           auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; };
           return lower(x) == lower(y);
         });
}

// scheme "://" host [":" port] path ["?" query], in the arena; without a host only what follows it.
struct Target {
  std::string_view scheme, host;
  uint16_t port = 0;
  std::string_view path, query;
  bool has_query = false;
};
std::string_view write_location(const Target& target, Arena& arena) {
  char* const begin = static_cast<char*>(
      arena.allocate(target.scheme.size() + target.host.size() + target.path.size() + target.query.size() + 16, 1));
  char* at = begin;
  auto put = [&](std::string_view text) {
    if (!text.empty()) std::memcpy(at, text.data(), text.size());
    at += text.size();
  };
  if (!target.host.empty()) {
    put(target.scheme);
    put("://");
    put(target.host);
    const bool usual =
        (target.port == 80 && target.scheme == "http") || (target.port == 443 && target.scheme == "https");
    if (target.port != 0 && !usual) {
      put(":");
      at = std::to_chars(at, at + 5, target.port).ptr;
    }
  }
  put(target.path == "*" ? "/" : target.path);
  if (target.has_query) {
    put("?");
    put(target.query);
  }
  return {begin, static_cast<size_t>(at - begin)};
}

// What a request that upgrades HTTP itself means is served without (RFC 9110 7.8: may be ignored); other protocols
// cannot be.
bool is_ignored_upgrade(std::string_view upgrade) {
  return equal_without_case(upgrade, "h2c") ||
         (upgrade.size() >= 4 &&
          (equal_without_case(upgrade.substr(0, 4), "HTTP") || equal_without_case(upgrade.substr(0, 4), "TLS/")));
}

}  // namespace

ActiveRequest::ActiveRequest(Context& context, ClientLink& client, http::ResponseSink& sink)
    : context_(context), client_(client), sequence_(context.sequence), stream_(context.chunks, *this, sink) {}

ActiveRequest* ActiveRequest::make(Context& context, ClientLink& client, http::ResponseSink& sink) {
  context.counters.streams_active.add();
  context.counters.streams_total.add();
  auto* request = new (context.requests.take(sizeof(ActiveRequest))) ActiveRequest(context, client, sink);
  request->identity_.client = client.facts().peer;
  request->identity_.secure = client.facts().secure;
  return request;
}

void ActiveRequest::release() {
  context_.counters.streams_active.sub();
  released_ = true;
  defer();
}

void ActiveRequest::settle_later() { defer(); }

void ActiveRequest::defer() {
  if (!std::exchange(deferred_, true)) context_.reactor.destroy_later(*this);
}

void ActiveRequest::destroy() {
  deferred_ = false;
  if (!released_) return stream_.settle();
  Context& context = context_;
  this->~ActiveRequest();
  context.requests.give(this);
}

std::string_view ActiveRequest::request_id() {
  if (request_id_.empty()) {
    char* const id = static_cast<char*>(stream_.arena().allocate(Random::kId, 1));
    context_.random.write_id(id);
    request_id_ = {id, Random::kId};
  }
  return request_id_;
}

void ActiveRequest::keep(http::TextKeeper& keeper) {
  for (std::string_view* text : {&request_id_, &host_, &path_, &query_}) keeper.keep(*text);
}

void ActiveRequest::plan(http::RequestHead& head, http::StreamPlan& plan) {
  host_ = head.host;
  path_ = head.path;
  query_ = head.query;
  has_query_ = head.has_query;
  std::string_view id = request_id();
  identity_ = identify(head, client_.facts(), context_.settings, id);
  request_id_ = id;
  head.scheme = identity_.secure ? http::Scheme::https : http::Scheme::http;
  plan.request_ms = context_.settings.request_ms;
  plan.max_body = context_.settings.body_bytes;
  plan.tunnel_idle_ms = context_.settings.tunnel_idle_ms;
  if (client_.over_limit()) {
    plan.answered = true;
    plan.reply.reason = Reason::overloaded;
    return;
  }
  // RFC 9110 15.5.20: the connection speaks for one name; a host with other TLS settings has one of its own.
  if (client_.facts().secure && !context_.tls.same_settings(client_.transport()->server_name(), head.host)) {
    plan.answered = true;
    plan.reply.reason = Reason::misdirected;
    return;
  }
  // "OPTIONS *" is about the server as a whole (RFC 9110 9.3.7): here that is whoever serves the host's root. Without
  // one it is us.
  const bool asterisk = head.path == "*";
  if (asterisk) head.path = "/";
  match_ = context_.router.match(head);
  if (asterisk) head.path = "*";
  if (match_.route == nullptr && asterisk) {
    plan.answered = true;
    plan.reply.reason = Reason::direct_response;
    plan.reply.status = 200;
    return;
  }
  if (match_.route == nullptr) {
    plan.answered = true;
    plan.reply = as_reply(context_.settings.not_found);
    return;
  }
  const ir::Route& route = *match_.route;
  runtime_ = &RouteRuntime::of(*match_.host.get(), match_.index, context_.filter_environment);
  // Before anything that costs: no filter sees it.
  if (context_.overload.sheds(runtime_->priority())) {
    context_.counters.overload_shed[static_cast<size_t>(runtime_->priority())].add();
    plan.answered = true;
    plan.reply.reason = Reason::overloaded;
    return;
  }
  plan.filters = runtime_->filters().make(stream_.arena(),
                                          {static_cast<uint32_t>(covered(head)), identity_.client.bytes, &notes_});
  if (refuse(head, route, plan)) return;
  plan.retry = runtime_->retry();
  if (route.max_body_bytes() != 0) plan.max_body = route.max_body_bytes();
  if (const ir::Timeouts* timeouts = route.timeouts(); timeouts != nullptr) {
    if (timeouts->request_ms() != 0) plan.request_ms = timeouts->request_ms();
    plan.per_try_ms = timeouts->per_try_ms();
  }
}

bool ActiveRequest::refuse(http::RequestHead& head, const ir::Route& route, http::StreamPlan& plan) {
  if (route.https_only() && head.scheme == http::Scheme::http) {
    redirect_to_https(head, plan);
    return true;
  }
  Reason reason = Reason::none;
  if (route.encoded_slash() == 1 && has_encoded_slash(head.path)) reason = Reason::rejected_path;
  if (!head.upgrade.empty()) {
    bool listed = false;
    if (route.upgrades() != nullptr) {
      for (const auto* name : *route.upgrades()) listed |= equal_without_case(view_of(name), head.upgrade);
    }
    if (!listed) {
      if (!is_ignored_upgrade(head.upgrade)) reason = Reason::upgrade_refused;
      head.upgrade = {};
      head.fields.remove(http::Token::http2_settings);
    }
  }
  if (reason == Reason::none) return false;
  plan.answered = true;
  plan.reply.reason = reason;
  return true;
}

// The port is told only where the client named the one it reached us on: then what we listen on is what clients see.
void ActiveRequest::redirect_to_https(const http::RequestHead& head, http::StreamPlan& plan) {
  plan.answered = true;
  if (head.host.empty()) {
    plan.reply.reason = Reason::missing_host;
    return;
  }
  const bool direct = head.port != 0 && head.port == client_.local_port();
  const std::string_view target = write_location(
      {"https", head.host, direct ? context_.https_port : uint16_t{0}, head.path, head.query, head.has_query},
      stream_.arena());
  plan.reply.reason = Reason::https_redirect;
  plan.reply.status = 308;
  plan.reply.fields = location(target);
}

std::span<const http::Field> ActiveRequest::location(std::string_view target) {
  return {stream_.arena().make<http::Field>("Location", target, http::Token::location), 1};
}

size_t ActiveRequest::covered(const http::RequestHead& head) const {
  return match_.route->path_kind() == ir::PathKind::Prefix ? match_.matched_prefix : head.path.size();
}

bool ActiveRequest::act(http::RequestHead& head, http::LocalReply& reply) {
  const ir::Route& route = *match_.route;
  switch (route.action_type()) {
    case ir::Action::Forward:
      return forward(reply);
    case ir::Action::Redirect:
      reply = redirect(head, *route.action_as_Redirect());
      return true;
    case ir::Action::DirectResponse:
      reply = as_reply(fixed_answer(*route.action_as_DirectResponse(), Reason::direct_response));
      return true;
    default:
      reply.reason = Reason::backend_invalid;
      return true;
  }
}

http::LocalReply ActiveRequest::redirect(const http::RequestHead& head, const ir::Redirect& to) {
  http::LocalReply reply;
  const auto path =
      filters::rewrite_path(to.path_kind(), head.path, view_of(to.path()), covered(head), nullptr, stream_.arena());
  if (!path) {
    reply.reason = path.error();
    return reply;
  }
  Target target;
  const std::string_view own = head.scheme == http::Scheme::https ? "https" : "http";
  target.scheme = to.scheme() != nullptr && to.scheme()->size() != 0 ? view_of(to.scheme()) : own;
  target.host = to.host() != nullptr && to.host()->size() != 0 ? view_of(to.host()) : head.host;
  // Without a word from the route the client's own view of the port holds, as long as the scheme does.
  target.port = to.port() != 0 ? to.port() : target.scheme == own ? head.port : uint16_t{0};
  target.path = *path;
  target.query = head.query;
  target.has_query = head.has_query;
  reply.reason = Reason::redirect;
  reply.status = to.status();
  reply.fields = location(write_location(target, stream_.arena()));
  return reply;
}

bool ActiveRequest::forward(http::LocalReply& reply) {
  RouteRuntime::Backend* backend = runtime_->choose(context_.random, context_.upstreams);
  if (backend == nullptr) {
    reply.reason = Reason::backend_invalid;
    return true;
  }
  if (backend->cluster == nullptr) {
    if (backend->config->error() != nullptr)
      reply = as_reply(fixed_answer(*backend->config->error(), Reason::backend_invalid));
    else reply.reason = Reason::service_not_found;
    return true;
  }
  cluster_ = backend->cluster;
  return false;
}

std::expected<http::RequestSink*, http::Error> ActiveRequest::start_attempt(http::ResponseEvents& events) {
  return context_.upstreams.start(*cluster_, events, stream_.arena(), attempts_,
                                  attempt_options(stream_.head(), context_.settings));
}

std::expected<http::RequestSink*, http::Error> ActiveRequest::start_fetch(std::string_view name,
                                                                          http::ResponseEvents& events,
                                                                          uint32_t timeout_ms) {
  const std::shared_ptr<upstream::Cluster> cluster = context_.upstreams.cluster(name);
  if (cluster == nullptr)
    return std::unexpected(http::Error{Reason::service_not_found, http::Side::upstream, http::Retry::no, 0});
  Arena& arena = stream_.arena();
  // Lives as long as the exchange may refer to it.
  auto* attempts = arena.make<upstream::Attempts>();
  return context_.upstreams.start(*cluster, events, arena, *attempts, {timeout_ms, timeout_ms, timeout_ms});
}

void ActiveRequest::complete(const http::StreamSummary& summary) {
  count(summary);
  if (context_.log.enabled()) log(summary);
}

void ActiveRequest::count(const http::StreamSummary& summary) {
  const shared::RouteSlots& slots = runtime_ != nullptr ? runtime_->counters() : context_.unmatched;
  shared::RouteCounters& route = slots.route;
  if (summary.error.reason != Reason::none) {
    context_.counters.reasons[static_cast<size_t>(summary.error.reason)].add();
    route.reasons[static_cast<size_t>(summary.error.reason)].add();
  }
  route.requests[std::min<size_t>(summary.status / 100, 5)].add();
  route.duration_us.add(summary.duration_us);
  slots.of_namespace.duration.record(summary.duration_us);
  if (summary.upstream_us != 0) {
    route.upstream_us.add(summary.upstream_us);
    route.upstream_answers.add();
    slots.of_namespace.upstream.record(summary.upstream_us);
  }
  route.bytes_in.add(summary.bytes_in);
  route.bytes_out.add(summary.bytes_out);
  if (summary.attempts > 1) route.retries.add(summary.attempts - 1u);
  if (summary.status == 101) context_.counters.upgrades.add();
  if (summary.grpc_status != http::StreamSummary::kNoGrpc) route.grpc[summary.grpc_status].add();
}

void ActiveRequest::log(const http::StreamSummary& summary) {
  const http::RequestHead& head = stream_.head();
  observe::StreamRecord record;
  record.start_wall_us = wall_us() - static_cast<int64_t>(summary.duration_us);
  record.duration_us = summary.duration_us;
  record.upstream_us = summary.upstream_us;
  record.connect_us = attempts_.connect_us;
  record.client = identity_.client;
  record.peer = client_.socket_peer();
  record.request_id = request_id();
  record.method = head.method_name;
  record.scheme = identity_.secure ? "https" : "http";
  record.host = host_;
  record.path = path_;
  record.query = query_;
  record.has_query = has_query_;
  if (const http::Field* agent = head.fields.find(http::Token::user_agent); agent != nullptr)
    record.user_agent = agent->value;
  if (const http::Field* referer = head.fields.find(http::Token::referer); referer != nullptr)
    record.referer = referer->value;
  record.protocol = head.version == http::Version::http10  ? "HTTP/1.0"
                    : head.version == http::Version::http2 ? "HTTP/2"
                                                           : "HTTP/1.1";
  record.status = summary.status;
  record.bytes_in = summary.bytes_in;
  record.bytes_out = summary.bytes_out;
  record.attempts = summary.attempts;
  record.reason = summary.error.reason;
  if (summary.grpc_status != http::StreamSummary::kNoGrpc) record.grpc_status = summary.grpc_status;
  if (attempts_.count != 0) record.upstream = attempts_.last_address;
  if (cluster_ != nullptr) record.cluster = cluster_->name();
  if (const ir::Origin* origin = match_.route == nullptr ? nullptr : match_.route->origin(); origin != nullptr) {
    record.origin_kind = view_of(origin->kind());
    record.origin_namespace = view_of(origin->namespace_());
    record.origin_name = view_of(origin->name());
    record.origin_rule = view_of(origin->rule());
    record.origin_generation = origin->generation();
  }
  record.state_sequence = sequence_;
  record.rate_limit = notes_.rate_limit;
  if (const net::Transport* transport = client_.transport(); transport != nullptr) {
    record.tls_version = transport->tls_version();
    record.tls_cipher = transport->tls_cipher();
    record.sni = transport->server_name();
  }
  context_.log.write(record);
}

}  // namespace sluice::worker
