#include "controlplane/loop/loop.h"

#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <tuple>
#include <utility>

#include "common/base/clock.h"
#include "common/base/log.h"

namespace sluice::loop {

Loop::Loop(boost::asio::io_context& io, config::Options options, store::Source& source, resolve::Names* names,
           publish::Publisher& publisher, Callbacks callbacks)
    : options_(std::move(options)),
      source_(source),
      names_(names),
      publisher_(publisher),
      callbacks_(std::move(callbacks)),
      timer_(io) {}

void Loop::start() {
  store::Source::Callbacks callbacks;
  callbacks.change = [this](store::Change change) { on_change(std::move(change)); };
  callbacks.synced = [this] {
    synced_ = true;
    log::info("every kind has been listed",
              {{"ingresses", store_.size(store::Kind::ingress)}, {"routes", store_.size(store::Kind::route)}});
    changed();
  };
  if (names_ != nullptr) {
    const auto settled = [this] {
      if (figures_.published == 0) changed();
    };
    const auto told = [this](const std::string& name, std::shared_ptr<const store::ResolvedName> now) {
      if (store_.resolved(name, std::move(now))) changed();
    };
    names_->start(told, settled);
  }
  source_.start(std::move(callbacks));
}

void Loop::set_options(config::Options options) {
  options_ = std::move(options);
  changed();
}

void Loop::on_change(store::Change change) {
  // Becoming settled comes with a change that may be no difference; before the first state it must wake the loop all
  // the same.
  const bool different = store_.apply(std::move(change));
  if (!synced_) return;
  if (different || figures_.published == 0) return changed();
  // What still waits for its round is told with it.
  if (!coalescer_.due_ms() && callbacks_.touched) callbacks_.touched(store_.snapshot(), figures_.newest);
}

void Loop::changed() {
  const uint64_t now = monotonic_ns();
  if (first_change_ns_ == 0) first_change_ns_ = now;
  coalescer_.changed(now / 1'000'000);
  arm();
}

void Loop::arm() {
  if (!synced_) return;
  const uint64_t now = monotonic_ms();
  const uint64_t due = *coalescer_.due_ms();
  timer_.expires_after(std::chrono::milliseconds(due > now ? due - now : 0));
  timer_.async_wait([this](const boost::system::error_code& error) {
    // Moved deadlines cancel this wait and start another.
    if (!error && coalescer_.due_ms()) run();
  });
}

void Loop::want(const translate::Translation& translation) {
  if (translation.wanted_version != wanted_version_) {
    wanted_version_ = translation.wanted_version;
    source_.want(translation.wanted_secrets, translation.wanted_config_maps);
  }
  if (names_ == nullptr) return;
  std::vector<std::string> names;
  for (const translate::ExternalName& external : translation.external_names) names.push_back(external.host);
  if (names == wanted_names_) return;
  wanted_names_ = std::move(names);
  names_->want(wanted_names_);
}

void Loop::run() {
  coalescer_.done(monotonic_ms());
  Round round;
  const uint64_t begin = monotonic_ns();
  round.wait_ns = begin - std::exchange(first_change_ns_, 0);
  const translate::Translation& translation = translator_.translate(store_.snapshot(), options_, wall_us() / 1'000'000);
  const uint64_t translated = monotonic_ns();
  ++figures_.translations;
  round.translate_ns = translated - begin;
  want(translation);
  // The first state must not miss certificates that are still being fetched, nor names that have been asked for a
  // moment ago; later ones must not wait for a Secret that somebody just named.
  if (figures_.published == 0 && !(source_.settled() && (names_ == nullptr || names_->settled()))) return;

  compile::Compiled compiled = compiler_.compile(translation);
  const uint64_t compiled_at = monotonic_ns();
  round.compile_ns = compiled_at - translated;
  publish::StateParts parts;
  for (size_t i = 0; i < ir::kParts; ++i) {
    parts.bytes[i] = compiled.parts[i].bytes;
    parts.hashes[i] = compiled.parts[i].hash;
    figures_.part_bytes[i] = compiled.parts[i].bytes->size();
  }
  for (const compile::Part& shard : compiled.shards) {
    parts.shards.push_back({shard.bytes, shard.hash});
    figures_.part_bytes[static_cast<size_t>(ir::PartKind::table)] += shard.bytes->size();
  }
  figures_.hosts = translation.hosts.size();
  figures_.clusters = translation.clusters.size();
  figures_.certificates = translation.certificates.size();
  const ir::StateId id = publisher_.publish(std::move(parts));
  round.publish_ns = monotonic_ns() - compiled_at;
  round.published = id != figures_.newest;
  if (round.published) {
    ++figures_.published;
    figures_.newest = id;
    log::debug("state published", {{"sequence", id.sequence},
                                   {"wait_us", round.wait_ns / 1000},
                                   {"translate_us", round.translate_ns / 1000},
                                   {"compile_us", round.compile_ns / 1000},
                                   {"publish_us", round.publish_ns / 1000}});
  }
  // The first state leaves behind what the first lists took; nothing later is near as large.
  if (figures_.published == 1 && round.published) ::malloc_trim(0);
  if (callbacks_.measured) callbacks_.measured(round);
  const std::vector<store::Problem> undecodable = store_.problems();
  if (callbacks_.translated) callbacks_.translated(store_.snapshot(), translation, undecodable, id);
  std::vector<store::Problem> problems = translation.problems;
  problems.insert(problems.end(), undecodable.begin(), undecodable.end());
  tell_problems(std::move(problems));
}

// Each problem once, as long as it lasts.
void Loop::tell_problems(std::vector<store::Problem> problems) {
  const auto order = [](const store::Problem& p) { return std::tie(p.object, p.field, p.reason, p.text); };
  std::ranges::sort(problems, {}, order);
  const auto twice = std::ranges::unique(problems, {}, order);
  problems.erase(twice.begin(), twice.end());
  for (const store::Problem& problem : problems) {
    if (std::ranges::binary_search(problems_, order(problem), {}, order)) continue;
    log::warning("problem", {{"kind", store::kind_name(problem.object.kind)},
                             {"namespace", problem.object.key.ns},
                             {"name", problem.object.key.name},
                             {"field", problem.field},
                             {"reason", problem.reason},
                             {"text", problem.text}});
  }
  problems_ = std::move(problems);
}

}  // namespace sluice::loop
