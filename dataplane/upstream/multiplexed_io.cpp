// Reading into the worker's buffer, one settling a read; writing what the session holds, once a batch.
#include <cerrno>
#include <utility>

#include "dataplane/upstream/exchange.h"
#include "dataplane/upstream/multiplexed.h"

namespace sluice::upstream {

using http::Reason;
using http::Retry;
using http::Side;
using net::Io;

// Steady state asks for the same events all the time: no system call. It always reads: a stream that must wait stops
// by its window.
void Multiplexed::set_interest() {
  const bool writes = transport_->wants_write();
  uint32_t wanted = net::kReadable | (writes ? net::kWritable : 0u);
  if (phase_ == Phase::connecting) wanted = writes ? net::kWritable : net::kReadable;
  if (wanted == interest_) return;
  interest_ = wanted;
  context_.reactor.modify(transport_->fd(), *this, wanted);
}

void Multiplexed::readable() {
  char* const buffer = context_.read_buffer.get();
  do {
    const net::IoResult result = transport_->read({buffer, Context::kReadBuffer});
    if (result.state == Io::again) break;
    if (result.state == Io::eof) return lost({Reason::upstream_closed, Side::upstream, Retry::if_reused, 0});
    if (result.state == Io::error) {
      const auto code = static_cast<int16_t>(transport_->error_code());
      return lost({Reason::upstream_reset, Side::upstream, Retry::if_reused, code});
    }
    quiet_since_ms_ = context_.reactor.now_ms();
    if (std::exchange(pinged_, false)) arm();
    heard_ = true;
    context_.reading = true;
    const bool alive = session_->receive({buffer, result.bytes}, quiet_since_ms_);
    look_at_sending();
    settle();
    context_.reading = false;
    // Who had sent something was told why; the others did not begin.
    if (!alive) return lost({Reason::upstream_closed, Side::upstream, Retry::yes, 0});
  } while (transport_->readable_now());
  set_interest();
  wake();
}

// A few bytes of its own: the worker's buffer may be in use. What comes on a connection without streams is small.
bool Multiplexed::alive_when_idle() {
  if (phase_ != Phase::open) return false;
  char buffer[1024];
  for (int reads = 0; reads < 16; ++reads) {
    const net::IoResult result = transport_->read(buffer);
    if (result.state == Io::again) {
      wake();
      return takes();
    }
    if (result.state != Io::ok) {
      leaving_ = write_failed_ = true;
      return false;
    }
    if (!session_->receive({buffer, result.bytes}, context_.reactor.now_ms())) {
      leaving_ = true;
      return false;
    }
  }
  return false;
}

void Multiplexed::writable() {
  const net::IoResult result = transport_->flush();
  if (result.state == Io::error) return write_failed();
  session_->set_beyond(transport_->pending());
  if (transport_->pending() == 0) {
    session_->pump();
    wake();
  }
  set_interest();
}

// What the transport cannot take waits in the session: DATA is framed no further then.
void Multiplexed::write() {
  if (write_failed_) return;
  session_->pump();  // heads whose bodies did not begin
  while (transport_->pending() == 0) {
    const http::Bytes out = session_->output();
    if (out.empty()) break;
    ++writes_;
    const iovec part{const_cast<char*>(out.data()), out.size()};
    const net::IoResult result = transport_->write({&part, 1});
    if (result.state == Io::error) return write_failed();
    session_->wrote(out.size());
    session_->set_beyond(transport_->pending());
    if (phase_ != Phase::open) break;
    session_->pump();
  }
  if (phase_ != Phase::open) return;
  look_at_sending();
  set_interest();
}

// The upstream takes nothing more. What it said before is still to be read, and its end: now, whatever the event loop
// says.
void Multiplexed::write_failed() {
  write_failed_ = true;
  poked_ = true;
  arm();
}

// Requests whose bodies waited for a window or for the socket.
void Multiplexed::look_at_sending() {
  if (watched_ == 0) return;
  for (Exchange* at = first_; at != nullptr; at = at->next) at->look_at_sending();
}

void Multiplexed::settle_later(Exchange& exchange) {
  if (!exchange.to_settle) {
    exchange.to_settle = true;
    exchange.next_to_settle = nullptr;
    (settle_first_ == nullptr ? settle_first_ : settle_last_->next_to_settle) = &exchange;
    settle_last_ = &exchange;
  }
  wake();
}

void Multiplexed::settle() {
  while (settle_first_ != nullptr) {
    Exchange& exchange = *settle_first_;
    settle_first_ = exchange.next_to_settle;
    exchange.to_settle = false;
    exchange.settle();
  }
}

}  // namespace sluice::upstream
