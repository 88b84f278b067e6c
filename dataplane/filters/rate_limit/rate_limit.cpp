#include "dataplane/filters/rate_limit/rate_limit.h"

#include <charconv>
#include <cstring>

#include "dataplane/filters/rate_limit/limit.h"
#include "dataplane/http/chars.h"

namespace sluice::filters {
namespace {
using http::FilterContext;
using rate_limit::Address;
using rate_limit::Limit;

// The route's limits, and which fields tell of them.
struct Plan {
  shared::Buckets* buckets = nullptr;
  shared::CounterPage* counters = nullptr;
  std::vector<Limit> limits;
  std::string policies;  // of all limits that can refuse
  bool fields = false, legacy_fields = false;
};

// A limit that counts the request.
struct Counted {
  const Limit* limit;
  uint64_t bucket;
  shared::BucketAnswer answer;
};

// Whole seconds, rounded up; at least one.
uint64_t seconds(uint64_t ns) { return ns == 0 ? 1 : (ns + 999'999'999) / 1'000'000'000; }

std::string_view decimal(uint64_t value, Arena& arena) {
  char text[20];
  const char* const end = std::to_chars(text, text + sizeof text, value).ptr;
  return arena.copy({text, static_cast<size_t>(end - text)});
}

bool is_one_of(const http::Field& field, std::initializer_list<std::string_view> names) {
  if (field.token != http::Token::none) return false;
  for (const std::string_view name : names) {
    if (http::chars::equal_without_case(field.name, name)) return true;
  }
  return false;
}

class RateLimit final : public http::Filter {
 public:
  RateLimit(const Plan& plan, const MatchFacts& facts)
      : plan_(plan), client_(Address::of(facts.client)), notes_(facts.notes) {}

  Status on_request_head(FilterContext& context, bool) override {
    decided_ = true;
    const std::span<Counted> counted = count(context);
    if (counted.empty()) return Status::proceed;
    if (take(counted, context.now_ns())) {
      take_shadows(counted, context.now_ns());
      return Status::proceed;
    }
    context.reply({.reason = http::Reason::rate_limited, .fields = retry_after(context)});
    return Status::proceed;
  }
  Status on_response_head(FilterContext& context, http::ResponseHead& head, bool) override {
    add_fields(context, head);
    return Status::proceed;
  }
  void on_local_reply(FilterContext& context, http::ResponseHead& head) override { add_fields(context, head); }

 private:
  // Those that count this request, with their buckets.
  std::span<Counted> count(FilterContext& context) {
    const std::span<Counted> counted = context.arena().array<Counted>(plan_.limits.size());
    size_t size = 0;
    bool all = true;
    for (const Limit& limit : plan_.limits) {
      const std::optional<uint64_t> bucket = limit.bucket_of(context.request(), client_);
      if (bucket) counted[size++] = {&limit, *bucket, {}};
      else all = all && limit.shadow();
    }
    policies_ = all ? std::string_view(plan_.policies) : join_policies(counted.first(size), context.arena());
    return counted.first(size);
  }

  // A token of each that can refuse, or of none.
  bool take(std::span<Counted> counted, uint64_t now_ns) {
    size_t enforced = 0;
    for (const Counted& one : counted) enforced += one.limit->shadow() ? 0 : 1;
    if (enforced > 1) {
      // Looked at first: a request that one of them refuses leaves the others' tokens to others.
      bool refused = false;
      for (Counted& one : counted) {
        if (one.limit->shadow()) continue;
        one.answer = plan_.buckets->look(one.bucket, one.limit->rate(), now_ns);
        if (one.answer.admitted) continue;
        refused = true;
        refuse(one);
      }
      if (refused) return false;
    }
    for (size_t i = 0; i < counted.size(); ++i) {
      Counted& one = counted[i];
      if (one.limit->shadow()) continue;
      one.answer = take_one(one, now_ns);
      if (one.answer.admitted) continue;
      // Another worker was faster since we looked.
      for (const Counted& earlier : counted.first(i)) {
        if (!earlier.limit->shadow()) plan_.buckets->give_back(earlier.bucket, earlier.limit->rate(), now_ns);
      }
      tightest_ = nullptr;
      refuse(one);
      return false;
    }
    for (const Counted& one : counted) {
      if (one.limit->shadow()) continue;
      one.limit->counters().admitted.add();
      const bool tighter = tightest_ == nullptr || one.answer.left < answer_.left ||
                           (one.answer.left == answer_.left && one.answer.next_ns > answer_.next_ns);
      if (tighter) set_tightest(one);
    }
    return true;
  }

  void take_shadows(std::span<Counted> counted, uint64_t now_ns) {
    for (Counted& one : counted) {
      if (!one.limit->shadow()) continue;
      const bool admitted = take_one(one, now_ns).admitted;
      if (admitted) one.limit->counters().admitted.add();
      else one.limit->counters().shadowed.add();
      if (!admitted && notes_ != nullptr) notes_->rate_limit = one.limit->id();
    }
  }

  shared::BucketAnswer take_one(const Counted& one, uint64_t now_ns) {
    const shared::BucketAnswer answer = plan_.buckets->take(one.bucket, one.limit->rate(), now_ns);
    if (answer.evicted) plan_.counters->rate_limit_evictions.add();
    return answer;
  }

  // The strictest answers: the one that makes the client wait longest.
  void refuse(const Counted& one) {
    one.limit->counters().limited.add();
    if (tightest_ != nullptr && one.answer.next_ns <= answer_.next_ns) return;
    set_tightest(one);
    if (notes_ != nullptr) notes_->rate_limit = one.limit->id();
  }
  void set_tightest(const Counted& one) {
    tightest_ = one.limit;
    answer_ = one.answer;
  }

  std::span<const http::Field> retry_after(FilterContext& context) {
    retry_after_ = {"Retry-After", decimal(seconds(answer_.next_ns), context.arena()), http::Token::retry_after};
    return {&retry_after_, 1};
  }

  static std::string_view join_policies(std::span<const Counted> counted, Arena& arena) {
    size_t size = 0;
    for (const Counted& one : counted) size += one.limit->shadow() ? 0 : one.limit->policy().size() + 2;
    char* const begin = static_cast<char*>(arena.allocate(size + 1, 1));
    char* at = begin;
    for (const Counted& one : counted) {
      if (one.limit->shadow()) continue;
      if (at != begin) at = put(at, ", ");
      at = put(at, one.limit->policy());
    }
    return {begin, static_cast<size_t>(at - begin)};
  }
  static char* put(char* at, std::string_view text) {
    if (!text.empty()) std::memcpy(at, text.data(), text.size());
    return at + text.size();
  }

  // draft-ietf-httpapi-ratelimit-headers-11. An answer that came before the request was counted tells of the policies
  // only, one to a client that no limit counts of nothing.
  void add_fields(FilterContext& context, http::ResponseHead& head) {
    const std::string_view policies = decided_ ? policies_ : std::string_view(plan_.policies);
    if (policies.empty()) return;
    Arena& arena = context.arena();
    if (plan_.fields) {
      head.fields.remove_if([](const http::Field& field) {
        return is_one_of(field, {"RateLimit", "RateLimit-Policy"});
      });
      head.fields.add({"RateLimit-Policy", policies, http::Token::none});
      if (tightest_ != nullptr) head.fields.add({"RateLimit", service_limit(arena), http::Token::none});
    }
    if (plan_.legacy_fields && tightest_ != nullptr) {
      head.fields.remove_if([](const http::Field& field) {
        return is_one_of(field, {"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"});
      });
      head.fields.add({"X-RateLimit-Limit", decimal(tightest_->burst(), arena), http::Token::none});
      head.fields.add({"X-RateLimit-Remaining", decimal(answer_.left, arena), http::Token::none});
      head.fields.add({"X-RateLimit-Reset", decimal(seconds(answer_.next_ns), arena), http::Token::none});
    }
  }
  // Section 4.1: within `t` seconds there are no more than `r`, because so long it takes until the next token.
  std::string_view service_limit(Arena& arena) {
    const std::string_view prefix = tightest_->left_prefix();
    char* const begin = static_cast<char*>(arena.allocate(prefix.size() + 48, 1));
    char* at = put(begin, prefix);
    at = std::to_chars(at, at + 20, answer_.left).ptr;
    at = put(at, ";t=");
    at = std::to_chars(at, at + 20, seconds(answer_.next_ns)).ptr;
    return {begin, static_cast<size_t>(at - begin)};
  }

  const Plan& plan_;
  Address client_;
  Notes* notes_;
  const Limit* tightest_ = nullptr;  // ... of those that can refuse
  shared::BucketAnswer answer_;      // its
  std::string_view policies_;
  http::Field retry_after_;
  bool decided_ = false;
};

class RateLimitFactory final : public Factory {
 public:
  explicit RateLimitFactory(Plan plan) : plan_(std::move(plan)) {}
  [[nodiscard]] http::Filter* make(Arena& arena, const MatchFacts& facts) const override {
    return arena.make<RateLimit>(plan_, facts);
  }

 private:
  Plan plan_;
};

}  // namespace

std::unique_ptr<Factory> prepare_rate_limit(const ir::Filter& config, const Environment& environment) {
  const auto* from = config.config_as_RateLimit();
  if (from == nullptr || environment.buckets == nullptr || environment.counters == nullptr) return nullptr;
  Plan plan{environment.buckets, environment.counters, {}, {}, from->fields(), from->legacy_fields()};
  if (from->limits() != nullptr) {
    for (const ir::Limit* one : *from->limits()) {
      std::optional<Limit> limit = Limit::prepare(*one, *environment.buckets, *environment.counters);
      if (!limit) return nullptr;
      if (!limit->shadow()) plan.policies += (plan.policies.empty() ? "" : ", ") + std::string(limit->policy());
      plan.limits.push_back(std::move(*limit));
    }
  }
  return std::make_unique<RateLimitFactory>(std::move(plan));
}

}  // namespace sluice::filters
