#include "controlplane/translate/ticket_keys.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <map>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "common/ir/verify.h"

namespace sluice::translate {
namespace {

constexpr size_t kNameBytes = 16;  // of a key, in front of it: what a ticket says it was made with
constexpr size_t kMaxDigits = 12;
constexpr size_t kMaxFlaws = 16;
constexpr size_t kMaxShown = 64;

// An entry's name in a text: what the API server takes for one, and not too much of it.
std::string shown(std::string_view name) {
  std::string out(name.substr(0, kMaxShown));
  for (char& c : out) {
    const bool plain =
        (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_' || c == '.';
    if (!plain) c = '?';
  }
  return name.size() > kMaxShown ? out + "..." : out;
}

bool read_slot(std::string_view name, int64_t& slot) {
  if (name.empty() || name.size() > kMaxDigits || name.find_first_not_of("0123456789") != std::string_view::npos)
    return false;
  std::from_chars(name.data(), name.data() + name.size(), slot);
  return true;
}

std::shared_ptr<const ir::TicketKeyT> make_key(int64_t slot, std::string_view bytes) {
  const auto wipe = [](ir::TicketKeyT* key) {
    explicit_bzero(key->key.data(), key->key.size());
    delete key;
  };
  std::shared_ptr<ir::TicketKeyT> out(new ir::TicketKeyT(), wipe);
  out->slot = slot;
  out->key.assign(bytes.begin(), bytes.end());
  return out;
}

bool before(const std::shared_ptr<const ir::TicketKeyT>& a, const std::shared_ptr<const ir::TicketKeyT>& b) {
  if (a->slot != b->slot) return a->slot < b->slot;
  return std::memcmp(a->key.data(), b->key.data(), kNameBytes) < 0;
}

class Flaws {
 public:
  void add(std::string_view entry, const std::string& why) {
    ++count_;
    if (list_.size() < kMaxFlaws)
      list_.push_back({"data." + shown(entry), fmt::format("entry \"{}\" is left out: {}", shown(entry), why)});
  }
  std::vector<store::Flaw> take() {
    if (count_ > list_.size())
      list_.push_back({"data", fmt::format("{} more entries are left out", count_ - list_.size())});
    return std::move(list_);
  }

 private:
  std::vector<store::Flaw> list_;
  size_t count_ = 0;
};

}  // namespace

CheckedTicketKeys check_ticket_keys(const store::Secret& secret) {
  struct Entry {
    std::string_view name, bytes;
    int64_t slot;
  };
  Flaws flaws;
  std::vector<Entry> entries;
  std::map<std::string_view, std::vector<std::string_view>> by_key_name;
  for (const auto& [name, value] : secret.data) {
    Entry entry{name, value.reveal(), 0};
    if (!read_slot(name, entry.slot)) {
      flaws.add(name, fmt::format("its name is no Unix second (1 to {} digits)", kMaxDigits));
    } else if (entry.bytes.size() != ir::kTicketKeyBytes) {
      flaws.add(name, fmt::format("it holds {} bytes, not {}", entry.bytes.size(), ir::kTicketKeyBytes));
    } else {
      by_key_name[entry.bytes.substr(0, kNameBytes)].push_back(name);
      entries.push_back(entry);
    }
  }
  // A ticket says which key it was made with by these bytes alone: none of the twins could be told from the other.
  std::erase_if(entries, [&](const Entry& entry) {
    const auto& twins = by_key_name.at(entry.bytes.substr(0, kNameBytes));
    if (twins.size() == 1) return false;
    flaws.add(entry.name, fmt::format("its first {} bytes, the key's name, are those of entry \"{}\" too", kNameBytes,
                                      shown(twins[0] == entry.name ? twins[1] : twins[0])));
    return true;
  });
  std::ranges::stable_sort(entries, {}, &Entry::slot);
  if (entries.size() > ir::kMaxTicketKeys) {
    const auto newest = entries.end() - static_cast<ptrdiff_t>(ir::kMaxTicketKeys);
    for (auto old = entries.begin(); old != newest; ++old)
      flaws.add(old->name, fmt::format("there are {} newer ones, and no more are used", ir::kMaxTicketKeys));
    entries.erase(entries.begin(), newest);
  }
  CheckedTicketKeys out;
  for (const Entry& entry : entries) out.keys.push_back(make_key(entry.slot, entry.bytes));
  std::ranges::sort(out.keys, before);
  out.flaws = flaws.take();
  return out;
}

bool equal(const TicketKeyList& a, const TicketKeyList& b) {
  return std::ranges::equal(a, b, [](const auto& one, const auto& other) { return *one == *other; });
}

}  // namespace sluice::translate
