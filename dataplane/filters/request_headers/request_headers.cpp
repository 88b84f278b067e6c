#include "dataplane/filters/request_headers/request_headers.h"

#include "dataplane/filters/header_edits.h"
#include "dataplane/http/authority.h"

namespace sluice::filters {
namespace {

// Host is no field here (message.h): setting it means the authority of the request. Ill-formed: left alone.
void set_host(http::FilterContext& context, std::string_view value) {
  const http::Authority authority = http::parse_authority(value, context.arena());
  if (authority.reason != http::Reason::none || authority.host.empty()) return;
  context.request().host = authority.host;
  context.request().port = authority.port;
}

class RequestHeaders final : public http::Filter {
 public:
  explicit RequestHeaders(const ir::HeaderEdits& edits) : edits_(edits) {}
  Status on_request_head(http::FilterContext& context, bool) override {
    http::Fields& fields = context.request().fields;
    apply_edits(edits_, fields);
    if (const http::Field* host = fields.find(http::Token::host); host != nullptr) {
      set_host(context, host->value);
      fields.remove(http::Token::host);
    }
    return Status::proceed;
  }

 private:
  const ir::HeaderEdits& edits_;
};

class RequestHeadersFactory final : public Factory {
 public:
  explicit RequestHeadersFactory(const ir::HeaderEdits& edits) : edits_(edits) {}
  [[nodiscard]] http::Filter* make(Arena& arena, const MatchFacts&) const override {
    return arena.make<RequestHeaders>(edits_);
  }

 private:
  const ir::HeaderEdits& edits_;
};

}  // namespace

std::unique_ptr<Factory> prepare_request_headers(const ir::Filter& config, const Environment&) {
  const auto* headers = config.config_as_RequestHeaders();
  if (headers == nullptr || headers->edits() == nullptr) return nullptr;
  return std::make_unique<RequestHeadersFactory>(*headers->edits());
}

}  // namespace sluice::filters
