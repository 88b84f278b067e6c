// A worker without a data path: keeps the channel's protocol and its heartbeat, and answers each connection with one
// line, "worker INDEX pid PID sequence SEQUENCE marker MARKER\n" (marker: the table's default_certificate). A state
// whose marker is "refuse" is refused, one with "die" kills it.
#pragma once

namespace sluice::test {
[[nodiscard]] int run_stand_in_worker(int channel, int counters, unsigned index);
}
