#include "dataplane/worker/identity.h"

#include <algorithm>
#include <charconv>
#include <cstring>

namespace sluice::worker {
namespace {
using http::Field;
using http::Token;

constexpr std::string_view kVouched[] = {"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port",
                                         "x-real-ip",       "x-request-id",      "forwarded"};

bool is_vouched(Token token) {
  switch (token) {
    case Token::x_forwarded_for:
    case Token::x_forwarded_proto:
    case Token::x_forwarded_host:
    case Token::x_forwarded_port:
    case Token::x_real_ip:
    case Token::x_request_id:
    case Token::forwarded:
      return true;
    default:
      return false;
  }
}

// Another spelling of one of ours: CGI-like backends read `_` and `-` as the same.
bool is_disguised(const Field& field) {
  if (field.token != Token::none || field.name.find('_') == std::string_view::npos) return false;
  for (const std::string_view name : kVouched) {
    if (name.size() != field.name.size()) continue;
    const bool same = std::equal(name.begin(), name.end(), field.name.begin(), [](char a, char b) {
      if (b == '_') b = '-';
      return a == (b >= 'A' && b <= 'Z' ? static_cast<char>(b | 0x20) : b);
    });
    if (same) return true;
  }
  return false;
}

// A growing text in the arena with a bound known before.
class Text {
 public:
  Text(Arena& arena, size_t most) : begin_(static_cast<char*>(arena.allocate(most, 1))), at_(begin_) {}
  Text& put(std::string_view text) {
    if (!text.empty()) std::memcpy(at_, text.data(), text.size());
    at_ += text.size();
    return *this;
  }
  Text& put(const net::Address& address) {
    at_ += address.format(at_);
    return *this;
  }
  Text& put(uint16_t number) {
    at_ = std::to_chars(at_, at_ + 5, number).ptr;
    return *this;
  }
  [[nodiscard]] std::string_view view() const { return {begin_, static_cast<size_t>(at_ - begin_)}; }

 private:
  char* begin_;
  char* at_;
};

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// Elements as proxies write them: address, [v6], either with a port.
std::optional<net::Address> parse_hop(std::string_view hop) {
  hop = trim(hop);
  if (hop.starts_with('[')) {
    const size_t end = hop.find(']');
    return end == std::string_view::npos ? std::nullopt : net::Address::parse(hop.substr(1, end - 1));
  }
  if (const size_t colon = hop.find(':');
      colon != std::string_view::npos && hop.find(':', colon + 1) == std::string_view::npos)
    hop = hop.substr(0, colon);
  return net::Address::parse(hop);
}

// All lines of X-Forwarded-For as one list; from the right, the first that is no trusted proxy. What is behind
// something unreadable proves nothing.
net::Address find_client(const http::Fields& fields, const net::Address& peer, const Settings& settings) {
  net::Address client = peer;
  const auto all = fields.all();
  for (size_t i = all.size(); i-- > 0;) {
    if (all[i].token != Token::x_forwarded_for) continue;
    std::string_view list = all[i].value;
    for (;;) {
      const size_t comma = list.rfind(',');
      const auto hop = parse_hop(comma == std::string_view::npos ? list : list.substr(comma + 1));
      if (!hop) return client;
      client = *hop;
      if (!contains(settings.trusted_proxies, client)) return client;
      if (comma == std::string_view::npos) break;
      list = list.substr(0, comma);
    }
  }
  return client;
}

bool is_good_id(std::string_view id) {
  return !id.empty() && id.size() <= 128 && std::all_of(id.begin(), id.end(), [](char c) {
    return c > 0x20 && c < 0x7F && c != '"' && c != '\\' && c != ',' && c != ';';
  });
}

void set_forwarded_for(http::RequestHead& head, const net::Address& peer) {
  http::Fields& fields = head.fields;
  size_t size = 48;
  for (const Field& field : fields.all()) {
    if (field.token == Token::x_forwarded_for) size += field.value.size() + 2;
  }
  Text text(fields.arena(), size);
  for (const Field& field : fields.all()) {
    if (field.token == Token::x_forwarded_for) text.put(field.value).put(", ");
  }
  text.put(peer);
  fields.remove(Token::x_forwarded_for);
  fields.add({"X-Forwarded-For", text.view(), Token::x_forwarded_for});
}

// RFC 7239: an element for this hop behind what trusted proxies said.
void set_forwarded(http::RequestHead& head, const net::Address& peer, bool secure) {
  http::Fields& fields = head.fields;
  size_t size = 128 + head.host.size();
  for (const Field& field : fields.all()) {
    if (field.token == Token::forwarded) size += field.value.size() + 2;
  }
  Text text(fields.arena(), size);
  for (const Field& field : fields.all()) {
    if (field.token == Token::forwarded) text.put(field.value).put(", ");
  }
  text.put("for=");
  if (peer.is_v4()) text.put(peer);
  else text.put("\"[").put(peer).put("]\"");
  if (!head.host.empty()) {
    text.put(";host=\"").put(head.host);
    if (head.port != 0) text.put(":").put(head.port);
    text.put("\"");
  }
  text.put(secure ? ";proto=https" : ";proto=http");
  fields.remove(Token::forwarded);
  fields.add({"Forwarded", text.view(), Token::forwarded});
}

void set_host_and_port(http::RequestHead& head, bool secure) {
  http::Fields& fields = head.fields;
  if (fields.find(Token::x_forwarded_host) == nullptr && !head.host.empty()) {
    std::string_view host = head.host;
    if (head.port != 0) host = Text(fields.arena(), head.host.size() + 6).put(head.host).put(":").put(head.port).view();
    fields.add({"X-Forwarded-Host", host, Token::x_forwarded_host});
  }
  if (fields.find(Token::x_forwarded_port) == nullptr) {
    std::string_view port = secure ? "443" : "80";
    if (head.port != 0) port = Text(fields.arena(), 5).put(head.port).view();
    fields.add({"X-Forwarded-Port", port, Token::x_forwarded_port});
  }
}

}  // namespace

Identity identify(http::RequestHead& head, const ConnectionFacts& connection, const Settings& settings,
                  std::string_view& request_id) {
  http::Fields& fields = head.fields;
  const bool trusted = !settings.trusted_proxies.empty() && contains(settings.trusted_proxies, connection.peer);
  fields.remove_if([&](const Field& field) { return (!trusted && is_vouched(field.token)) || is_disguised(field); });
  Identity identity{connection.peer, connection.secure};
  if (trusted) {
    identity.client = find_client(fields, connection.peer, settings);
    if (const Field* proto = fields.find(Token::x_forwarded_proto); proto != nullptr) {
      if (proto->value == "https" || proto->value == "http") identity.secure = proto->value == "https";
      else fields.remove(Token::x_forwarded_proto);
    }
    if (const Field* id = fields.find(Token::x_request_id); id != nullptr) {
      if (is_good_id(id->value)) request_id = id->value;
      fields.remove(Token::x_request_id);
    }
    if (const Field* real = fields.find(Token::x_real_ip); real != nullptr && !net::Address::parse(trim(real->value)))
      fields.remove(Token::x_real_ip);
  }
  set_forwarded_for(head, connection.peer);
  if (fields.find(Token::x_forwarded_proto) == nullptr)
    fields.add({"X-Forwarded-Proto", identity.secure ? "https" : "http", Token::x_forwarded_proto});
  set_host_and_port(head, identity.secure);
  if (fields.find(Token::x_real_ip) == nullptr) {
    fields.add({"X-Real-IP", Text(fields.arena(), 46).put(identity.client).view(), Token::x_real_ip});
  }
  fields.add({"X-Request-Id", request_id, Token::x_request_id});
  if (settings.forwarded_header) set_forwarded(head, connection.peer, connection.secure);
  return identity;
}

}  // namespace sluice::worker
