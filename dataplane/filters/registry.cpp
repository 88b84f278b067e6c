#include "dataplane/filters/registry.h"

#include <algorithm>

#include "dataplane/filters/rate_limit/rate_limit.h"
#include "dataplane/filters/request_headers/request_headers.h"
#include "dataplane/filters/response_headers/response_headers.h"
#include "dataplane/filters/rewrite/rewrite.h"
#include "dataplane/filters/test_probe/test_probe.h"

namespace sluice::filters {
namespace {

// Requests pass from top to bottom, answers from bottom to top.
constexpr RegistryEntry kRegistry[] = {
    {ir::FilterConfig::TestProbe, prepare_test_probe},  // sees what the client sent, and what it will get
    {ir::FilterConfig::RateLimit,
     prepare_rate_limit},  // first: what is refused costs nothing more, and keys are what the client sent
    {ir::FilterConfig::RequestHeaders,
     prepare_request_headers},  // before rewrite: it may set Host, which a rewrite then overrules
    {ir::FilterConfig::ResponseHeaders, prepare_response_headers},
    {ir::FilterConfig::Rewrite, prepare_rewrite},  // last: everything before judges the path the client asked for
};

}  // namespace

std::span<const RegistryEntry> registry() { return kRegistry; }

bool is_registered(ir::FilterConfig type) {
  return std::any_of(std::begin(kRegistry), std::end(kRegistry),
                     [&](const RegistryEntry& entry) { return entry.type == type; });
}

}  // namespace sluice::filters
