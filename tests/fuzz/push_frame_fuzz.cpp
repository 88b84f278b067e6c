// Frames of the push protocol and messages between the data plane's processes: any packet, over a real socket, is
// refused or decodes to a frame within its bounds. First byte: which of the two.
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include <sys/socket.h>
#include <unistd.h>

#include "common/ir/push_socket.h"
#include "dataplane/sync/messages.h"

namespace {
using namespace sluice;

void require(bool holds) {
  if (!holds) std::abort();
}

void push(int from) {
  const auto received = ir::receive_frame(from);
  if (!received || !*received) return;
  const ir::PushFrame& frame = (*received)->frame;
  require(frame.type != ir::FrameType::part);  // no descriptor came with it
  require(frame.text_size <= sizeof frame.text && frame.listeners <= frame.bound.size() &&
          frame.workers_ready <= frame.workers_total);
  require(frame.part <= ir::PartKind::shard && frame.shard < ir::kMaxShards && frame.need_mask < (1u << ir::kParts));
  for (const auto& bound : frame.bound) require(std::strlen(bound.name) < sizeof bound.name);
  const auto again = ir::decode_frame(ir::encode_frame(frame));
  require(again.has_value() && std::memcmp(&*again, &frame, sizeof frame) == 0);
}

void message(int from) {
  const auto received = sync::receive(from);
  if (!received || received->message.type == sync::MessageType::none) return;
  const sync::Message& got = received->message;
  require(received->fd_count == 0 && got.listener_count <= got.listeners.size() &&
          got.workers_wanted <= sync::kMaxWorkers);
  require(std::strlen(got.text) < sizeof got.text);
  for (const auto& spec : got.listeners) require(std::strlen(spec.name) < sizeof spec.name);
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2 || size > 65536) return 0;
  static int pair[2] = {-1, -1};
  if (pair[0] < 0) require(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
  require(::send(pair[0], data + 1, size - 1, 0) == static_cast<ssize_t>(size - 1));
  if (data[0] % 2 == 0) push(pair[1]);
  else message(pair[1]);
  return 0;
}
