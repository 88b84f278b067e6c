// Between the processes of the data plane: master <-> agent, master <-> worker i, each over a SOCK_SEQPACKET socketpair
// made by the master. Fixed-size packets with at most kMaxFds descriptors; the master trusts its children's frames no
// further than these checks, and parses nothing else. A state's memfds: table, endpoints, secrets, then the table's
// shards in order.
//
//   master -> agent   state{id} + memfds              first thing an agent gets: what runs now; boot 0 and no
//                                                     descriptors = nothing does
//   agent  -> master  apply{sequence} + sealed memfds (verified), listeners, workers   the master keeps them, opens
//   what
//                                                     is new, sends on
//   master -> worker  state{sequence} + memfds        first thing a worker gets, and again for each new state
//   master -> worker  listener{id, protocol, name} + fd       worker accepts from it; also the orphaned sockets of
//                                                     workers that are gone
//   master -> worker  unlisten{id}                    stops accepting and closes its copy
//   master -> worker  drain{drain_ms}                 no keep-alive, finish streams, exit within that time. The master
//                                                     has sent `unlisten` for every socket before if others take over
//                                                     (fewer workers, new binary); what is still listened on at
//                                                     shutdown is accepted from until the last stream ends
//   agent  -> master  log_level{level}                for all processes; the master keeps it for those to come
//   master -> agent, worker  log_level{level}
//   master -> worker  dump{} | reopen{}               write what the streams do to the log; open log files again
//   master -> worker  mailboxes{worker} + fds         of the workers from that index on: the end that is read of its
//   own,
//                                                     the end that is written of the others (mailbox.h)
//   master -> worker  mailbox_left{} + fd             of a worker without a successor: to be read to its end
//   worker -> master  ready{sequence}                 runs that state (or will use it from the next event on)
//   worker -> master  refused{sequence, text}         could not apply: keeps the old one
//   master -> agent   applied{sequence} / refused{sequence, text} / workers{ready, total, restarts, bound ports} /
//                     counter pages (fd each) / drain
#pragma once
#include <array>
#include <cstdint>
#include <span>

#include "common/base/result.h"
#include "common/base/unique_fd.h"
#include "common/ir/push_frame.h"

namespace sluice::sync {

enum class MessageType : uint16_t {
  none = 0,
  apply = 1,
  state,
  listener,
  unlisten,
  drain,
  ready,
  refused,
  applied,
  workers,
  counters,
  dump,
  reopen,
  log_level,
  mailboxes,
  mailbox_left
};

struct ListenerSpec {
  char name[16]{};
  uint8_t protocol = 0;   // ir::ListenerProtocol
  uint16_t port = 0;      // 0 = any
  uint8_t address[16]{};  // v6 or v4-mapped
  bool operator==(const ListenerSpec&) const = default;
};
inline constexpr size_t kMaxListeners = 16;
inline constexpr uint32_t kMaxWorkers = 128;

struct Message {
  uint32_t magic = 0x53594E43;  // "SYNC"
  MessageType type{};
  uint16_t worker = 0;  // counters: number of the page; listener: index of the worker that owns the socket; mailboxes:
                        // index of the first
  ir::StateId id;
  std::array<uint64_t, ir::kParts> sizes{};
  std::array<ir::ContentHash, ir::kParts> hashes{};  // apply, state: what did not change need not be looked at
  uint32_t listener_id = 0;                          // unique per socket
  uint32_t workers_wanted = 0;                       // apply, state: 1 to kMaxWorkers
  uint32_t drain_ms = 0;                             // apply, drain
  uint32_t ready = 0, total = 0, restarts = 0;
  uint32_t level = 0;      // log_level: log::Level
  uint32_t transient = 0;  // refused: 1 = may succeed later (a port is taken)
  uint32_t listener_count = 0;
  std::array<ListenerSpec, kMaxListeners> listeners{};  // apply: wanted; workers: bound (port filled in); listener: [0]
  char text[256]{};
};

inline constexpr size_t kMaxFds = ir::kParts + ir::kMaxShards;
struct Received {
  Message message;
  std::array<UniqueFd, kMaxFds> fds;
  size_t fd_count = 0;
};

// Blocking-free: send gives an error on EAGAIN too (the buffer holds thousands; a peer that far behind is dead).
[[nodiscard]] Status send(int socket, const Message& message, std::span<const int> fds = {});
// Nothing to read: Received with message.type == none. Peer closed: an error "closed".
[[nodiscard]] Result<Received> receive(int socket);

}  // namespace sluice::sync
