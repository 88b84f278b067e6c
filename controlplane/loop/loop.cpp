#include "controlplane/loop/loop.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "common/base/clock.h"
#include "common/base/log.h"

namespace sluice::loop {

Loop::Loop(boost::asio::io_context& io, config::Options options, store::Source& source, publish::Publisher& publisher,
           Callbacks callbacks)
    : options_(std::move(options)),
      source_(source),
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
    coalescer_.changed(monotonic_ms());
    arm();
  };
  source_.start(std::move(callbacks));
}

void Loop::set_options(config::Options options) {
  options_ = std::move(options);
  coalescer_.changed(monotonic_ms());
  arm();
}

void Loop::on_change(store::Change change) {
  // Becoming settled comes with a change that may be no difference; before the first state it must wake the loop all
  // the same.
  const bool different = store_.apply(std::move(change));
  if (!synced_ || (!different && figures_.published > 0)) return;
  coalescer_.changed(monotonic_ms());
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

void Loop::run() {
  coalescer_.done();
  const uint64_t begin = monotonic_ns();
  translate::Translation translation = translator_.translate(store_.snapshot(), options_, wall_us() / 1'000'000);
  const uint64_t translated = monotonic_ns();
  ++figures_.translations;
  figures_.last_translate_us = (translated - begin) / 1000;
  source_.want(translation.wanted_secrets, translation.wanted_config_maps);
  // The first state must not miss certificates that are still being fetched; later ones must not wait for a Secret that
  // somebody just named.
  if (figures_.published == 0 && !source_.settled()) return;

  compile::Compiled compiled = compiler_.compile(translation);
  figures_.last_compile_us = (monotonic_ns() - translated) / 1000;
  publish::StateParts parts;
  for (size_t i = 0; i < ir::kParts; ++i) {
    parts.bytes[i] = compiled.parts[i].bytes;
    parts.hashes[i] = compiled.parts[i].hash;
  }
  const ir::StateId id = publisher_.publish(std::move(parts));
  if (!(id == figures_.newest)) {
    ++figures_.published;
    figures_.newest = id;
    log::debug("state published", {{"sequence", id.sequence},
                                   {"translate_us", figures_.last_translate_us},
                                   {"compile_us", figures_.last_compile_us}});
  }
  const std::vector<store::Problem> undecodable = store_.problems();
  if (callbacks_.translated) callbacks_.translated(store_.snapshot(), translation, undecodable, id);
  translation.problems.insert(translation.problems.end(), undecodable.begin(), undecodable.end());
  tell_problems(translation.problems);
}

// Each problem once, as long as it lasts.
void Loop::tell_problems(const std::vector<store::Problem>& problems) {
  decltype(told_) now;
  for (const store::Problem& problem : problems) {
    const auto [entry, fresh] = now.emplace(problem.object, problem.field, problem.reason, problem.text);
    if (!fresh || told_.contains(*entry)) continue;
    log::warning("problem", {{"kind", store::kind_name(problem.object.kind)},
                             {"namespace", problem.object.key.ns},
                             {"name", problem.object.key.name},
                             {"field", problem.field},
                             {"reason", problem.reason},
                             {"text", problem.text}});
  }
  told_ = std::move(now);
}

}  // namespace sluice::loop
