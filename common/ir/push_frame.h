// The push protocol: control plane (server) to data plane agent (client) over a unix SOCK_SEQPACKET socket. One packet
// = one frame of fixed size; the big things (table, endpoints, secrets) travel as sealed memfds in SCM_RIGHTS, at most
// one a packet. The state is always whole: (table, endpoints, secrets), each with a content hash, under (boot id,
// sequence). So nothing can be applied by halves, a lost frame cannot do harm, and every gap ends in the same way: the
// agent says which parts it lacks.
//
//   server                     agent
//     <- Hello   {version, boot, seq, hashes it holds}
//     -> State   {boot, seq, hashes}     sent once at connect (when there is a state) and for each new state
//     <- Need    {boot, seq, masks}      if parts are missing: first of the three, then of the shards that the table
//                                        names. The server may have moved on: the newer state is asked for then
//     -> Part    {boot, seq, kind, shard, hash} + fd    one packet a part; with all of them the agent applies
//     <- Ack     {boot, seq} | Nack {boot, seq, reason, text}
//     <- Report  {...}                   after each change of the workers, and once a second while there are changes
//
// Rules: a newer State replaces one under way; within one boot id a sequence never goes back; a frame of another
// version, size or order closes the connection and the agent reconnects (backoff 50 ms x2 to 2 s). Only a peer of the
// expected uid (SO_PEERCRED) is served. The framing and its checks live in push_frame.cpp, one packet's way over a
// socket in push_socket.cpp, the two ends in controlplane/publish and dataplane/agent.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "common/base/result.h"

namespace sluice::ir {

inline constexpr uint32_t kSchemaVersion = 2;       // of route_table.fbs
inline constexpr uint32_t kPushMagic = 0x534C5543;  // "SLUC"
inline constexpr uint16_t kPushVersion = 2;
inline constexpr size_t kMaxPartBytes = size_t{1} << 30;

// A state has the first three once, and as many shards as its table names.
enum class PartKind : uint8_t { table = 0, endpoints = 1, secrets = 2, shard = 3 };
inline constexpr size_t kParts = 3;
// So that three parts and all shards fit one packet: the kernel passes at most 253 descriptors (SCM_MAX_FD).
inline constexpr size_t kMaxShards = 128;

// XXH3-128 of a part's bytes. Equal = same content; both planes are one trust domain, so no keyed hash.
struct ContentHash {
  uint64_t high = 0;
  uint64_t low = 0;
  bool operator==(const ContentHash&) const = default;
};
[[nodiscard]] ContentHash content_hash(std::span<const std::byte> bytes);

struct StateId {
  uint64_t boot = 0;  // random, of the control plane's process; 0 = none
  uint64_t sequence = 0;
  bool operator==(const StateId&) const = default;
};

enum class FrameType : uint16_t { hello = 1, state = 2, need = 3, part = 4, ack = 5, nack = 6, report = 7 };

// Why a state was refused. Text says more.
enum class NackReason : uint16_t { none, bad_hash, bad_schema, too_large, not_sealed, worker_refused, internal };

// All numbers in host order: both ends are on one machine. Unused fields are zero.
struct PushFrame {
  uint32_t magic = kPushMagic;
  uint16_t version = kPushVersion;
  FrameType type{};
  StateId id;
  std::array<ContentHash, kParts> hashes{};             // hello, state: of each part; part: only [kind], shards none
  std::array<uint64_t, kParts> sizes{};                 // state, part
  std::array<uint64_t, kMaxShards / 64> need_shards{};  // need: bit i = shard i
  PartKind part{};                                      // part
  uint8_t need_mask = 0;                                // need: bit = 1 << PartKind
  uint8_t shard = 0;                                    // part of kind shard: which
  NackReason reason{};                                  // nack
  uint32_t text_size = 0;                               // nack: bytes of text
  uint64_t published_ns = 0;  // state: CLOCK_MONOTONIC when the control plane published it (both ends share the kernel)
  // report
  uint32_t workers_ready = 0;  // workers that run `id`
  uint32_t workers_total = 0;
  uint32_t workers_restarted = 0;  // since the data plane started
  uint32_t listeners = 0;          // entries of `bound`
  struct Bound {                   // what a listener really listens on
    char name[16];
    uint16_t port;
  };
  std::array<Bound, 16> bound{};
  char text[256]{};
};

// Checks magic, version, type, bounds and that `text`/`name` are terminated. The error says which field.
[[nodiscard]] Result<PushFrame> decode_frame(std::span<const std::byte> packet);
[[nodiscard]] std::span<const std::byte> encode_frame(const PushFrame& frame);

}  // namespace sluice::ir
