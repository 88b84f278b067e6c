// Which entries of a Secret are ticket keys, and what is said of the others.
#include "controlplane/translate/ticket_keys.h"

#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace sluice::translate {
namespace {

// A key whose name is 16 times `name`.
std::string key(char name, size_t bytes = 80) { return std::string(16, name) + std::string(bytes - 16, 'k'); }

store::Secret secret(const std::map<std::string, std::string>& entries) {
  store::Secret out;
  out.loaded = true;
  for (const auto& [name, bytes] : entries) out.data[name] = SecretBytes(bytes);
  return out;
}

// "slot name" of each key.
std::vector<std::string> keys(const CheckedTicketKeys& checked) {
  std::vector<std::string> out;
  for (const auto& one : checked.keys) {
    EXPECT_EQ(one->key.size(), 80u);
    out.push_back(fmt::format("{} {}", one->slot, static_cast<char>(one->key[0])));
  }
  return out;
}
std::vector<std::string> texts(const CheckedTicketKeys& checked) {
  std::vector<std::string> out;
  for (const store::Flaw& flaw : checked.flaws) out.push_back(flaw.field + ": " + flaw.text);
  return out;
}
using Texts = std::vector<std::string>;

TEST(TicketKeys, BySlotThenKeyName) {
  const auto checked = check_ticket_keys(
      secret({{"20", key('a')}, {"3", key('b')}, {"0", key('c')}, {"020", key('A')}, {"999999999999", key('d')}}));
  EXPECT_EQ(keys(checked), (Texts{"0 c", "3 b", "20 A", "20 a", "999999999999 d"}));
  EXPECT_EQ(texts(checked), Texts{});
  EXPECT_EQ(std::string(checked.keys[0]->key.begin(), checked.keys[0]->key.end()), key('c'));
}

TEST(TicketKeys, AnyByteIsPartOfAKey) {
  std::string bytes;
  for (int i = 0; i < 80; ++i) bytes.push_back(static_cast<char>(i * 7));
  const auto checked = check_ticket_keys(secret({{"0", bytes}}));
  ASSERT_EQ(checked.keys.size(), 1u);
  EXPECT_EQ(std::string(checked.keys[0]->key.begin(), checked.keys[0]->key.end()), bytes);
}

TEST(TicketKeys, WhatIsNoKeyIsLeftOutAndSaidWhy) {
  const auto said = [](const std::string& name, const std::string& bytes) {
    const auto checked = check_ticket_keys(secret({{name, bytes}, {"7", key('g')}}));
    EXPECT_EQ(keys(checked), Texts{"7 g"}) << name;
    return texts(checked);
  };
  for (const char* name : {"now", "-1", "+1", "1.5", "0x10", "1 ", "1234567890123"}) {
    std::string shown = name;
    for (char& c : shown) c = c == '+' || c == ' ' ? '?' : c;
    EXPECT_EQ(said(name, key('a')), Texts{"data." + shown + ": entry \"" + shown +
                                          "\" is left out: its name is no Unix second (1 to 12 digits)"});
  }
  EXPECT_EQ(said("", key('a')), Texts{"data.: entry \"\" is left out: its name is no Unix second (1 to 12 digits)"});
  EXPECT_EQ(said("5", key('a', 79)), Texts{"data.5: entry \"5\" is left out: it holds 79 bytes, not 80"});
  EXPECT_EQ(said("5", key('a', 81)), Texts{"data.5: entry \"5\" is left out: it holds 81 bytes, not 80"});
  EXPECT_EQ(said("5", ""), Texts{"data.5: entry \"5\" is left out: it holds 0 bytes, not 80"});
  const std::string longest(64, 'a');
  EXPECT_EQ(said(longest + "bc", key('a')), Texts{"data." + longest + "...: entry \"" + longest +
                                                  "...\" is left out: its name is no Unix second (1 to 12 digits)"});
}

// Neither could be told from the other.
TEST(TicketKeys, TwinsAreLeftOutBoth) {
  const auto checked = check_ticket_keys(secret({{"5", key('a')}, {"6", std::string(80, 'a')}, {"7", key('b')}}));
  EXPECT_EQ(keys(checked), Texts{"7 b"});
  EXPECT_EQ(
      texts(checked),
      (Texts{"data.5: entry \"5\" is left out: its first 16 bytes, the key's name, are those of entry \"6\" too",
             "data.6: entry \"6\" is left out: its first 16 bytes, the key's name, are those of entry \"5\" too"}));
}

TEST(TicketKeys, TheNewestSixteen) {
  std::map<std::string, std::string> entries;
  for (int i = 0; i < 18; ++i) entries[std::to_string(i * 10)] = key(static_cast<char>('a' + i));
  const auto checked = check_ticket_keys(secret(entries));
  ASSERT_EQ(checked.keys.size(), 16u);
  EXPECT_EQ(checked.keys.front()->slot, 20);
  EXPECT_EQ(checked.keys.back()->slot, 170);
  EXPECT_EQ(texts(checked),
            (Texts{"data.0: entry \"0\" is left out: there are 16 newer ones, and no more are used",
                   "data.10: entry \"10\" is left out: there are 16 newer ones, and no more are used"}));
  entries.erase("0");
  entries.erase("10");
  EXPECT_EQ(texts(check_ticket_keys(secret(entries))), Texts{});
}

TEST(TicketKeys, NoEntriesNoKeys) {
  const auto checked = check_ticket_keys(secret({}));
  EXPECT_TRUE(checked.keys.empty());
  EXPECT_TRUE(checked.flaws.empty());
}

TEST(TicketKeys, AThousandWrongEntriesSayLittle) {
  std::map<std::string, std::string> entries;
  for (int i = 0; i < 1000; ++i) entries[fmt::format("x{:04}", i)] = "secret";
  const auto said = texts(check_ticket_keys(secret(entries)));
  ASSERT_EQ(said.size(), 17u);
  EXPECT_EQ(said.back(), "data: 984 more entries are left out");
}

TEST(TicketKeys, NoTextHoldsBytesOfAKey) {
  const std::string bytes = "0123456789abcdefTOP-SECRET";
  for (const auto& text : texts(check_ticket_keys(secret({{"1", bytes}, {"x", bytes}})))) {
    EXPECT_EQ(text.find("SECRET"), std::string::npos) << text;
    EXPECT_EQ(text.find("0123456789abcdef"), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace sluice::translate
