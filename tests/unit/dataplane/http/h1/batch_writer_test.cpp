#include "dataplane/http/h1/batch_writer.h"

#include <random>
#include <string>

#include <gtest/gtest.h>

#include "common/base/arena.h"
#include "dataplane/http/h1/body_reader.h"
#include "dataplane/net/batch.h"

namespace sluice::http::h1 {
namespace {

struct Nobody {};
using Batch = net::Batch<Nobody, 8192>;

std::string flat(const Batch& batch) {
  std::string out;
  for (const iovec& part : batch.parts()) out.append(static_cast<const char*>(part.iov_base), part.iov_len);
  EXPECT_EQ(out.size(), batch.total());
  return out;
}

// What a recipient makes of it.
std::string body_of(const std::string& wire) {
  ChunkPool pool;
  Arena arena(pool);
  BodyReader reader;
  reader.start_chunked();
  std::string body;
  size_t at = 0;
  for (;;) {
    const Step step = reader.next({wire.data() + at, wire.size() - at}, arena, {});
    at += step.consumed;
    body.append(step.body.data(), step.body.size());
    EXPECT_NE(step.event, Event::error);
    EXPECT_NE(step.event, Event::need_more);
    if (reader.done() || step.event == Event::error || step.event == Event::need_more) break;
  }
  EXPECT_EQ(at, wire.size());
  return body;
}

bool put(Batch& batch, std::string_view bytes, bool end = false) {
  uint64_t left = 0;
  return put_body(batch, Framing::chunked, left, {bytes.data(), bytes.size()}, end);
}

TEST(BatchWriter, SmallPiecesLeaveAsOneChunkInOnePart) {
  Batch batch;
  for (const char* piece : {"a", "b", "c"}) EXPECT_TRUE(put(batch, piece));
  EXPECT_EQ(flat(batch), "3\r\nabc\r\n");
  EXPECT_EQ(batch.parts().size(), 1u);
  // The head grows by a digit.
  EXPECT_TRUE(put(batch, "0123456789abc"));
  EXPECT_EQ(flat(batch), "10\r\nabc0123456789abc\r\n");
  EXPECT_TRUE(put(batch, "", true));
  EXPECT_EQ(flat(batch), "10\r\nabc0123456789abc\r\n0\r\n\r\n");
}

TEST(BatchWriter, WhatCameBetweenEndsTheChunk) {
  Batch batch;
  EXPECT_TRUE(put(batch, "a"));
  const std::string large(300, 'x');
  EXPECT_TRUE(put(batch, large));
  EXPECT_TRUE(put(batch, "b"));
  EXPECT_TRUE(put(batch, "c"));
  EXPECT_EQ(flat(batch), "1\r\na\r\n12c\r\n" + large + "\r\n2\r\nbc\r\n");
  batch.clear();
  EXPECT_TRUE(put(batch, "d"));
  EXPECT_EQ(flat(batch), "1\r\nd\r\n") << "after a flush nothing of before is continued";
}

TEST(BatchWriter, AHeadIsNotTakenForAChunk) {
  Batch batch;
  const std::string_view head = "POST / HTTP/1.1\r\n\r\n";
  std::copy(head.begin(), head.end(), batch.space().begin());
  batch.wrote(head.size());
  EXPECT_TRUE(put(batch, "a"));
  EXPECT_TRUE(put(batch, "b"));
  EXPECT_EQ(flat(batch), std::string(head) + "2\r\nab\r\n");
}

// Any cut of any body comes out as it went in, and never needs more parts or space than a caller makes room for.
TEST(BatchWriter, EveryCutGivesTheSameBody) {
  std::mt19937 random(7);
  for (int round = 0; round < 300; ++round) {
    Batch batch;
    std::string sent, wire;
    const size_t pieces = 1 + random() % 400;
    std::vector<std::string> kept;  // views must live until the flush
    kept.reserve(pieces);
    for (size_t i = 0; i < pieces; ++i) {
      const size_t size = random() % 8 == 0 ? random() % 5000 : 1 + random() % (random() % 2 == 0 ? 4 : 300);
      std::string& piece = kept.emplace_back();
      for (size_t k = 0; k < size; ++k) piece += static_cast<char>(random());
      if (!batch.has_room(4, kFramingRoom)) {
        wire += flat(batch);
        batch.clear();
      }
      EXPECT_TRUE(put(batch, piece, i + 1 == pieces));
      sent += piece;
    }
    wire += flat(batch);
    ASSERT_EQ(body_of(wire), sent);
  }
}

}  // namespace
}  // namespace sluice::http::h1
