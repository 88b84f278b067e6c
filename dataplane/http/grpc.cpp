#include "dataplane/http/grpc.h"

#include <algorithm>
#include <charconv>

#include "dataplane/http/chars.h"

namespace sluice::http::grpc {
namespace {

constexpr std::string_view kDigits[] = {"0", "1",  "2",  "3",  "4",  "5",  "6",  "7", "8",
                                        "9", "10", "11", "12", "13", "14", "15", "16"};
static_assert(std::size(kDigits) == static_cast<size_t>(Status::kCount));

constexpr size_t kTimeoutDigits = 8;
constexpr uint64_t kMostInUnit = 99'999'999;

// Largest first, in microseconds.
struct Unit {
  char letter;
  uint64_t us;
};
constexpr Unit kUnits[] = {{'H', 3'600'000'000}, {'M', 60'000'000}, {'S', 1'000'000}, {'m', 1000}, {'u', 1}};

bool is_plain(char c) { return c >= 0x20 && c <= 0x7E && c != '%'; }

}  // namespace

std::string_view digits(Status status) {
  return kDigits[std::min(static_cast<size_t>(status), std::size(kDigits) - 1)];
}

bool is_request(const RequestHead& head) {
  if (head.method != Method::post) return false;
  const Field* type = head.fields.find(Token::content_type);
  if (type == nullptr || type->value.size() < kContentType.size()) return false;
  if (!chars::equal_without_case(type->value.substr(0, kContentType.size()), kContentType)) return false;
  if (type->value.size() == kContentType.size()) return true;
  const char next = type->value[kContentType.size()];
  return next == '+' || next == ';' || next == ' ' || next == '\t';
}

std::optional<Status> status_in(const Fields& fields) {
  const Field* field = fields.find(kStatusField);
  if (field == nullptr) return std::nullopt;
  unsigned number = 0;
  const char* const end = field->value.data() + field->value.size();
  const auto [at, error] = std::from_chars(field->value.data(), end, number);
  if (error != std::errc() || at != end || number >= static_cast<unsigned>(Status::kCount)) return Status::unknown;
  return static_cast<Status>(number);
}

Status status_of(uint16_t http_status) {
  switch (http_status) {
    case 400:
      return Status::internal;
    case 401:
      return Status::unauthenticated;
    case 403:
      return Status::permission_denied;
    case 404:
      return Status::unimplemented;
    case 429:
    case 502:
    case 503:
    case 504:
      return Status::unavailable;
    default:
      return Status::unknown;
  }
}

// Where a reason says more than its HTTP status does.
Status status_of(Reason reason, uint16_t http_status) {
  switch (reason) {
    case Reason::client_closed:
      return Status::cancelled;
    case Reason::no_route:
      return Status::unimplemented;
    // Not unavailable: clients try that again of themselves, and the bucket would get no rest.
    case Reason::rate_limited:
    // As gRPC's servers say of a message beyond their bound.
    case Reason::body_too_large:
    case Reason::response_too_large:
      return Status::resource_exhausted;
    case Reason::request_timeout:
    case Reason::response_timeout:
      return Status::deadline_exceeded;
    // Gateway API, GRPCRoute: a backend that is invalid is unavailable, whatever the HTTP status.
    case Reason::backend_invalid:
    case Reason::rule_invalid:
      return Status::unavailable;
    case Reason::filter_failed:
    case Reason::internal:
      return Status::internal;
    default:
      return status_of(http_status);
  }
}

bool is_told_as_status(Reason reason, uint16_t http_status) {
  if ((http_status >= 300 && http_status < 400) || http_status == 421) return false;
  return reason != Reason::direct_response || http_status >= 400;
}

std::optional<uint64_t> parse_timeout(std::string_view value) {
  if (value.size() < 2 || value.size() > kTimeoutDigits + 1) return std::nullopt;
  uint64_t number = 0;
  for (const char c : value.substr(0, value.size() - 1)) {
    if (c < '0' || c > '9') return std::nullopt;
    number = number * 10 + static_cast<uint64_t>(c - '0');
  }
  if (value.back() == 'n') return (number + 999) / 1000;
  for (const Unit& unit : kUnits) {
    if (unit.letter == value.back()) return number * unit.us;
  }
  return std::nullopt;
}

std::string_view write_timeout(uint64_t microseconds, std::span<char, kMaxTimeout> to) {
  const Unit* chosen = nullptr;
  for (const Unit& unit : kUnits) {
    const uint64_t number = microseconds / unit.us;
    if (number > kMostInUnit) break;  // smaller units need more digits still
    chosen = &unit;
    if (number != 0 && number * unit.us == microseconds) break;
  }
  const uint64_t number = chosen == nullptr ? kMostInUnit : microseconds / chosen->us;
  char* const end = std::to_chars(to.data(), to.data() + kTimeoutDigits, number).ptr;
  *end = chosen == nullptr ? kUnits[0].letter : chosen->letter;
  return {to.data(), static_cast<size_t>(end + 1 - to.data())};
}

std::string_view encode_message(std::string_view text, Arena& arena) {
  const auto escapes =
      static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return !is_plain(c); }));
  if (escapes == 0) return text;
  const size_t size = text.size() + 2 * escapes;
  char* const to = static_cast<char*>(arena.allocate(size, 1));
  char* at = to;
  for (const char c : text) {
    if (is_plain(c)) {
      *at++ = c;
      continue;
    }
    static constexpr char kHex[] = "0123456789ABCDEF";
    *at++ = '%';
    *at++ = kHex[static_cast<unsigned char>(c) >> 4];
    *at++ = kHex[static_cast<unsigned char>(c) & 15];
  }
  return {to, size};
}

}  // namespace sluice::http::grpc
