// nghttp2's memory. What its sessions allocate and free all the time comes from lists of freed blocks; the three parts
// that make up most of a session have a place of six pages, laid out so that an idle session holds one of them:
//
//   page 0         the session itself, then the begin of the buffer in which frames are packed
//   pages 1 to 4   the rest of that buffer: never touched while frames are small
//   page 5         the table of streams: nothing but zeros while there are none; rest() gives it back
//
// Places are kept for the next sessions: kMostWarm with their pages, the others as addresses only. What has no place (a
// library that asks for other sizes, more than kPlaces sessions in a thread) comes from the lists: slower to give back,
// otherwise the same. Under AddressSanitizer everything is malloc's, so that each block is seen.
#pragma once
#include <cstddef>
#include <cstdint>

#include <nghttp2/nghttp2.h>

namespace sluice::http::h2 {

// One session's; outlives it and stays where it is.
class SessionMemory {
 public:
  static constexpr size_t kMostKept = size_t{1} << 20u;  // bytes in the lists of a thread
  static constexpr size_t kPlaces = 16 * 1024;           // of a thread: 384 MiB of addresses
  static constexpr size_t kMostWarm = 64;

  SessionMemory();
  ~SessionMemory();
  SessionMemory(const SessionMemory&) = delete;
  SessionMemory& operator=(const SessionMemory&) = delete;

  [[nodiscard]] nghttp2_mem hooks() { return {this, on_malloc, on_free, on_calloc, on_realloc}; }
  // Of a session that does nothing for now: a system call.
  void rest();

  // Of this thread.
  struct Figures {
    uint64_t blocks = 0;   // handed out by the lists
    uint64_t mallocs = 0;  // of them, made by malloc
    size_t kept = 0;       // bytes in the lists
    size_t warm = 0;       // places that wait with their pages
    uint64_t placed = 0;   // parts handed out that have a place
  };
  [[nodiscard]] static Figures figures();

 private:
  enum Part : uint8_t { kSession, kFrames, kTable, kParts };

  static void* on_malloc(size_t size, void* self);
  static void on_free(void* block, void* self);
  static void* on_calloc(size_t count, size_t size, void* self);
  static void* on_realloc(void* block, size_t size, void* self);
  [[nodiscard]] void* part(Part which);
  [[nodiscard]] Part part_of(const void* block) const;

  char* place_ = nullptr;
  bool used_[kParts] = {};
  bool zero_[kParts] = {};  // never written since the kernel gave it
};

}  // namespace sluice::http::h2
