#include "controlplane/source/manifest_set.h"

#include <gtest/gtest.h>

namespace sluice::source {
namespace {

std::string service(const std::string& name, const std::string& port) {
  return fmt::format("apiVersion: v1\nkind: Service\nmetadata:\n  name: {}\nspec:\n  ports:\n  - port: {}\n", name,
                     port);
}

// What changed, in words: "+a" told or told anew, "-a" deleted, "!a" undecodable.
struct Fixture : testing::Test {
  ManifestSet set;
  std::vector<std::string> notes;

  static std::string words(const std::vector<store::Change>& changes) {
    std::string out;
    for (const store::Change& change : changes) {
      if (!out.empty()) out += ' ';
      if (const auto* up = std::get_if<store::Upsert>(&change)) out += "+" + store::meta_of(up->object).name;
      else if (const auto* gone = std::get_if<store::Delete>(&change)) out += "-" + gone->ref.key.name;
      else out += "!" + std::get<store::Undecodable>(change).ref.key.name;
    }
    return out;
  }
  std::string put(const std::string& file, const std::string& text) {
    notes.clear();
    const auto changes = set.put(file, text, notes);
    return changes ? words(*changes) : "error: " + changes.error().message;
  }
};
using ManifestSetTest = Fixture;

TEST_F(ManifestSetTest, ManyDocumentsAndLists) {
  EXPECT_EQ(put("a.yaml", service("a", "1") + "---\n" + service("b", "2")), "+a +b");
  EXPECT_EQ(put("l.yaml",
                "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Service, metadata: {name: c}}\n- "
                "{apiVersion: v1, kind: Pod, metadata: {name: p}}\n"),
            "+c");
  EXPECT_EQ(
      put("l.json",
          R"({"apiVersion":"v1","kind":"ServiceList","items":[{"apiVersion":"v1","kind":"Service","metadata":{"name":"d"}}]})"),
      "+d");
  EXPECT_EQ(put("o.json", R"({"apiVersion":"v1","kind":"Service","metadata":{"name":"e"}})"), "+e");
  EXPECT_EQ(put("two.json", R"({"apiVersion":"v1","kind":"Service","metadata":{"name":"f"}}
---
{"apiVersion":"v1","kind":"Service","metadata":{"name":"g"}})"),
            "+f +g");
  EXPECT_EQ(put("none.yaml", "# nothing\n---\n---\n"), "");
}

TEST_F(ManifestSetTest, OnlyWhatDiffersIsTold) {
  EXPECT_EQ(put("a.yaml", service("a", "1") + "---\n" + service("b", "2") + "---\n" + service("c", "3")), "+a +b +c");
  EXPECT_EQ(put("a.yaml", service("a", "1") + "---\n" + service("b", "2") + "---\n" + service("c", "3")), "");
  EXPECT_EQ(put("a.yaml", "# moved down\n---\n" + service("a", "1") + "# a comment\n---\n" + service("b", "9") +
                              "---\n" + service("c", "3")),
            "+b");
  EXPECT_EQ(put("a.yaml", service("c", "3") + "---\n" + service("d", "4")), "-a -b +d");
  EXPECT_EQ(words(set.drop("a.yaml")), "-c -d");
  EXPECT_EQ(words(set.drop("a.yaml")), "");
}

TEST_F(ManifestSetTest, WhatIsKnownIsNotReadAgain) {
  std::string text, list;
  for (int i = 0; i < 50; ++i) {
    text += "---\n" + service(fmt::format("s{}", i), "1");
    list +=
        fmt::format(R"({}{{"apiVersion":"v1","kind":"Service","metadata":{{"name":"l{}"}}}})", i == 0 ? "" : ",", i);
  }
  const auto in_list = [](const std::string& items) {
    return fmt::format(R"({{"apiVersion":"v1","kind":"List","items":[{}]}})", items);
  };
  put("big.yaml", text);
  put("list.json", in_list(list));
  const auto before = set.work();
  EXPECT_EQ(before.documents, 50u);
  // The same again, as after a folder was looked through anew.
  EXPECT_EQ(put("big.yaml", text), "");
  EXPECT_EQ(put("list.json", in_list(list)), "");
  EXPECT_EQ(set.work().files, before.files);
  // One object more: that one is read, and of the list the list itself.
  EXPECT_EQ(put("big.yaml", text + "---\n" + service("new", "1")), "+new");
  EXPECT_EQ(set.work().documents, before.documents + 1);
  EXPECT_EQ(set.work().objects, before.objects + 1);
  EXPECT_EQ(put("list.json", in_list(list + R"(,{"apiVersion":"v1","kind":"Service","metadata":{"name":"more"}})")),
            "+more");
  EXPECT_EQ(set.work().objects, before.objects + 3);
  // Another file is not touched by any of it.
  EXPECT_EQ(set.work().files, before.files + 2);
}

TEST_F(ManifestSetTest, WhatDoesNotParseKeepsTheLastGood) {
  EXPECT_EQ(put("a.yaml", service("a", "1")), "+a");
  EXPECT_EQ(put("a.yaml", service("a", "2") + "---\n" + "kind: [\n"), "error: line 10: end of sequence flow not found");
  EXPECT_EQ(put("a.yaml", service("a", "2") + "---\nname: x\n"), "error: line 8: the object has no kind");
  EXPECT_EQ(put("a.json", R"({"apiVersion":"v1","kind":"List","items":[1]})").substr(0, 13), "error: line 1");
  EXPECT_EQ(
      put("a.json", R"({"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"List","items":[]}]})"),
      "error: line 1: items[0]: a List inside a List");
  EXPECT_EQ(put("a.yaml", service("a", "2")), "+a");
}

TEST_F(ManifestSetTest, OneBadObjectDoesNotHarmItsNeighbours) {
  EXPECT_EQ(put("a.yaml", service("a", "1") + "---\n" + service("b", "none") + "---\n" + service("c", "3")),
            "+a +b +c");
  ASSERT_EQ(notes.size(), 1u);
  EXPECT_TRUE(notes[0].starts_with("a.yaml:8: Service default/b: spec.ports[0].port: ")) << notes[0];
  EXPECT_EQ(put("a.yaml", service("a", "1") + "---\n" + service("b", "2") + "---\n" + service("c", "3")), "+b");
}

TEST_F(ManifestSetTest, TheFirstFileByNameCounts) {
  EXPECT_EQ(put("b.yaml", service("x", "1")), "+x");
  EXPECT_EQ(put("c.yaml", service("x", "2")), "");
  ASSERT_EQ(notes.size(), 1u);
  EXPECT_EQ(notes[0], "c.yaml:1: Service default/x is in b.yaml too; that of b.yaml counts");
  EXPECT_EQ(put("a.yaml", service("x", "3")), "+x");
  EXPECT_EQ(words(set.drop("c.yaml")), "");
  EXPECT_EQ(words(set.drop("a.yaml")), "+x");
  EXPECT_EQ(words(set.drop("b.yaml")), "-x");
  EXPECT_EQ(put("d.yaml", service("y", "1") + "---\n" + service("y", "2")), "+y");
  EXPECT_EQ(notes.size(), 1u);
}

}  // namespace
}  // namespace sluice::source
