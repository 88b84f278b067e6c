#include "dataplane/filters/response_headers/response_headers.h"

#include "dataplane/filters/header_edits.h"

namespace sluice::filters {
namespace {

class ResponseHeaders final : public http::Filter {
 public:
  explicit ResponseHeaders(const ir::HeaderEdits& edits) : edits_(edits) {}
  Status on_response_head(http::FilterContext&, http::ResponseHead& head, bool) override {
    apply_edits(edits_, head.fields);
    return Status::proceed;
  }
  void on_local_reply(http::FilterContext&, http::ResponseHead& head) override { apply_edits(edits_, head.fields); }

 private:
  const ir::HeaderEdits& edits_;
};

class ResponseHeadersFactory final : public Factory {
 public:
  explicit ResponseHeadersFactory(const ir::HeaderEdits& edits) : edits_(edits) {}
  [[nodiscard]] http::Filter* make(Arena& arena, const MatchFacts&) const override {
    return arena.make<ResponseHeaders>(edits_);
  }

 private:
  const ir::HeaderEdits& edits_;
};

}  // namespace

std::unique_ptr<Factory> prepare_response_headers(const ir::Filter& config, const Environment&) {
  const auto* headers = config.config_as_ResponseHeaders();
  if (headers == nullptr || headers->edits() == nullptr) return nullptr;
  return std::make_unique<ResponseHeadersFactory>(*headers->edits());
}

}  // namespace sluice::filters
