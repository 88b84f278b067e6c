#include "dataplane/worker/overload.h"

#include <algorithm>
#include <bit>

namespace sluice::worker {
namespace {
constexpr uint64_t kCalmMs = 1000;
constexpr uint64_t kMostRefusingMs = 5000;
// Of a limit's thousand.
constexpr uint64_t kWhole = 1000;
// Nothing that we could do helps where others fill the memory: a build beside us, tables, the files of a log.
constexpr uint64_t kLeastShare = 4;  // clients': a quarter of what is used

uint64_t part_of(uint64_t used, uint64_t limit) {
  if (limit == 0) return 0;
  return used >= limit ? kWhole
                       : static_cast<uint64_t>(static_cast<double>(used) / static_cast<double>(limit) * kWhole);
}
}  // namespace

//                   normal  no_keep_alive  shed_sheddable  shed_standard  refuse      reset
const Overload::Steps Overload::kMemorySteps = {{{}, {850, 800}, {880, 830}, {910, 860}, {940, 890}, {970, 920}}};
const Overload::Steps Overload::kConnectionSteps = {{{}, {900, 850}, {}, {}, {}, {}}};

Overload::Steps Overload::steps_of(Resource resource) const {
  if (resource == Resource::memory) return kMemorySteps;
  if (resource == Resource::connections) return kConnectionSteps;
  // Of a delay, in milliseconds, the level only tells what delay_shedding.h does.
  const auto step = [this](Priority priority) {
    const uint64_t from = delay_.bands()[static_cast<size_t>(priority)].from / 1000;
    return Step{from, from / 2};
  };
  return {{{}, {}, step(Priority::sheddable), step(Priority::standard), {}, {}}};
}

std::string_view name_of(Level level) {
  static constexpr std::string_view kNames[] = {"normal",        "no_keep_alive", "shed_sheddable",
                                                "shed_standard", "refuse",        "reset"};
  return kNames[static_cast<size_t>(level)];
}

std::string_view name_of(Resource resource) {
  static constexpr std::string_view kNames[] = {"memory", "connections", "delay"};
  return kNames[static_cast<size_t>(resource)];
}

bool Overload::Ladder::update(const Steps& steps, uint64_t value, uint64_t now_ms) {
  const auto present = static_cast<size_t>(level);
  size_t wanted = 0;
  for (size_t i = 1; i < kLevels; ++i) {
    if (steps[i].enter != 0 && value >= steps[i].enter) wanted = i;
  }
  if (wanted >= present || value >= std::max<uint64_t>(1, steps[present].leave)) {
    calm_since_ms = 0;
    level = static_cast<Level>(std::max(wanted, present));
    return wanted > present;
  }
  if (calm_since_ms == 0) calm_since_ms = now_ms;
  if (now_ms - calm_since_ms < kCalmMs) return false;
  size_t next = present - 1;
  while (next > 0 && steps[next].enter == 0) --next;
  level = static_cast<Level>(next);
  calm_since_ms = now_ms;
  return true;
}

bool Overload::update(const Load& load) {
  delay_.pass(load.now_ms);
  delay_ms_ = delay_.take_longest_ms();
  const MemoryFigures& memory = load.memory;
  const uint64_t reserve = std::min(kBatchBytes, memory.limit / 16);
  const bool ours = memory.clients >= memory.used / kLeastShare;
  const std::array<uint64_t, static_cast<size_t>(Resource::kCount)> values = {
      ours ? part_of(memory.used + reserve, memory.limit) : 0,
      std::max(part_of(load.connections, load.connections_limit), part_of(load.descriptors, load.descriptors_limit)),
      delay_ms_,
  };
  bool changed = false;
  for (size_t i = 0; i < values.size(); ++i)
    changed |= ladders_[i].update(steps_of(static_cast<Resource>(i)), values[i], load.now_ms);

  const Level held = std::max(level(Resource::memory), level(Resource::connections));
  ends_keep_alive_ = held >= Level::no_keep_alive;
  shed_classes_ = held == Level::reset ? 3 : held >= Level::shed_standard ? 2 : held >= Level::shed_sheddable ? 1 : 0;
  // Down to where no level holds: else those who hold memory would keep everybody else out.
  const Level by_memory = level(Resource::memory);
  if (by_memory < Level::refuse) refusing_since_ms_ = 0;
  else if (refusing_since_ms_ == 0) refusing_since_ms_ = load.now_ms;
  const bool long_refused = by_memory == Level::refuse && load.now_ms - refusing_since_ms_ >= kMostRefusingMs;
  const uint64_t goal = memory.limit / kWhole * kMemorySteps[static_cast<size_t>(Level::no_keep_alive)].leave;
  const bool resets = by_memory == Level::reset || long_refused;
  excess_ = resets && memory.used + reserve > goal ? memory.used + reserve - goal : 0;
  return changed;
}

void HeldSizes::note(size_t bytes) {
  if (bytes >= kLeast) bytes_[static_cast<size_t>(std::bit_width(bytes)) - 1] += bytes;
}

size_t HeldSizes::at_least(uint64_t wanted) const {
  uint64_t sum = 0;
  size_t least = 0;
  for (size_t i = bytes_.size(); i-- > 0 && sum < wanted;) {
    if (bytes_[i] == 0) continue;
    sum += bytes_[i];
    least = size_t{1} << i;
  }
  return least;
}

}  // namespace sluice::worker
