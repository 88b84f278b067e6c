#include "dataplane/net/tls_memory.h"

#include <openssl/crypto.h>

namespace sluice::net {
namespace {

#ifdef __SANITIZE_ADDRESS__
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

constinit thread_local BlockLists lists{kMostTlsMemoryKept};

void* take(size_t size, const char*, int) { return lists.take(size); }
void give(void* block, const char*, int) { lists.give(block); }
void* resize(void* block, size_t size, const char*, int) { return lists.resize(block, size); }

}  // namespace

bool use_tls_memory() { return !kSanitized && CRYPTO_set_mem_functions(take, resize, give) == 1; }

TlsMemoryFigures tls_memory_figures() { return lists.figures(); }

}  // namespace sluice::net
