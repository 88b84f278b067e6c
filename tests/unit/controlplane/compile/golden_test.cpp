// tests/golden/FEATURE/NAME.in.yaml -> NAME.ir.json (the compiled parts, read back from their bytes) + NAME.status.yaml
// (statuses and problems). SLUICE_UPDATE_GOLDEN=1 (hack/update-golden) writes them instead; every change of a golden is
// a change of behaviour and is reviewed as such.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <arpa/inet.h>
#include <flatbuffers/idl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "common/ir/table_reason.h"
#include "common/ir/verify.h"
#include "controlplane/compile/compile.h"
#include "tests/unit/controlplane/compile/yaml_objects.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;
const fs::path kGolden = fs::path(SLUICE_SOURCE_DIR) / "tests" / "golden";

std::string slurp(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

std::string indented(const std::string& text, const std::string& by) {
  std::string out;
  for (const char c : text) {
    out += c;
    if (c == '\n') out += by;
  }
  return out;
}

class Printer {
 public:
  Printer() {
    flatbuffers::IDLOptions options;
    options.strict_json = true;
    options.indent_step = 2;
    options.natural_utf8 = true;
    parser_.opts = options;
    if (!parser_.Parse(slurp(fs::path(SLUICE_SOURCE_DIR) / "common/ir/route_table.fbs").c_str()))
      throw std::runtime_error(parser_.error_);
  }
  std::string text(const char* root, const void* bytes) {
    parser_.SetRootType(root);
    std::string out;
    if (!flatbuffers::GenerateText(parser_, bytes, &out)) throw std::runtime_error("GenerateText");
    while (!out.empty() && out.back() == '\n') out.pop_back();
    return out;
  }

 private:
  flatbuffers::Parser parser_;
};

std::string address_text(const ir::EndpointAddress& address, uint16_t port) {
  unsigned char bytes[16];
  for (int i = 0; i < 8; ++i) {
    bytes[i] = static_cast<unsigned char>(address.high() >> (56 - 8 * i));
    bytes[8 + i] = static_cast<unsigned char>(address.low() >> (56 - 8 * i));
  }
  char text[64]{};
  const bool v4 = address.high() == 0 && address.low() >> 32 == 0xffff;
  inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? bytes + 12 : bytes, text, sizeof text);
  return v4 ? fmt::format("{}:{}", text, port) : fmt::format("[{}]:{}", text, port);
}

// Hashes say nothing to a reader and are checked elsewhere: printed tables are without them.
std::string table_text(Printer& printer, const std::vector<std::byte>& bytes, std::string& hosts) {
  const ir::RouteTable* table = ir::GetRouteTable(bytes.data());
  ir::RouteTableT copy;
  table->UnPackTo(&copy);
  for (const ir::VirtualHostRef* ref : *table->hosts()) {
    hosts += (hosts.empty() ? "\n    " : ",\n    ") +
             indented(printer.text("sluice.ir.VirtualHost", ref->data()->data()), "    ");
  }
  copy.hosts.clear();
  for (auto& cluster : copy.clusters) cluster->hash = 0;
  if (*copy.settings == ir::SettingsT()) copy.settings.reset();
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(ir::RouteTable::Pack(builder, &copy));
  return printer.text("sluice.ir.RouteTable", builder.GetBufferPointer());
}

// By slot and name; nothing if the options name no Secret.
std::string ticket_keys(const ir::SecretSet& secrets) {
  if (secrets.ticket_keys_secret() == nullptr) return {};
  std::string keys;
  for (size_t i = 0; secrets.ticket_keys() != nullptr && i < secrets.ticket_keys()->size(); ++i) {
    const ir::TicketKey& key = *secrets.ticket_keys()->Get(static_cast<flatbuffers::uoffset_t>(i));
    keys += fmt::format("{}\"{} {:02x}\"", keys.empty() ? "" : ", ", key.slot(),
                        fmt::join(key.key()->begin(), key.key()->begin() + 16, ""));
  }
  return fmt::format(",\n  \"ticket_keys\": {{\"{}\": [{}]}}", secrets.ticket_keys_secret()->str(), keys);
}

std::string ir_json(const compile::Compiled& compiled) {
  Printer printer;
  std::string hosts, endpoints, certificates;
  const std::string table = table_text(printer, *compiled.parts[0].bytes, hosts);
  for (const ir::ClusterEndpoints* cluster :
       *flatbuffers::GetRoot<ir::EndpointSet>(compiled.parts[1].bytes->data())->clusters()) {
    std::string list;
    if (cluster->endpoints() != nullptr) {
      for (const ir::Endpoint* endpoint : *cluster->endpoints()) {
        list +=
            fmt::format("{}\"{} {}{}\"", list.empty() ? "" : ", ", address_text(*endpoint->address(), endpoint->port()),
                        ir::EnumNameEndpointState(endpoint->state()),
                        endpoint->zone() != nullptr ? " " + endpoint->zone()->str() : "");
      }
    }
    if (cluster->empty_reason() != nullptr)
      list += fmt::format("{}\"empty: {}\"", list.empty() ? "" : ", ", cluster->empty_reason()->str());
    endpoints += fmt::format("{}\n    \"{}\": [{}]", endpoints.empty() ? "" : ",", cluster->name()->str(), list);
  }
  const auto* secrets = flatbuffers::GetRoot<ir::SecretSet>(compiled.parts[2].bytes->data());
  for (const ir::Certificate* certificate : *secrets->certificates()) {
    certificates += fmt::format("{}\n    \"{}\": {{\"not_after\": {}}}", certificates.empty() ? "" : ",",
                                certificate->id()->str(), certificate->not_after());
  }
  return fmt::format(
      "{{\n  \"table\": {},\n  \"hosts\": [{}\n  ],\n  \"endpoints\": {{{}\n  }},\n  \"certificates\": {{{}\n  "
      "}}{}\n}}\n",
      indented(table, "  "), hosts, endpoints, certificates, ticket_keys(*secrets));
}

std::string object_name(const store::ObjectRef& ref) {
  return fmt::format("{} {}{}{}", store::kind_name(ref.kind), ref.key.ns, ref.key.ns.empty() ? "" : "/", ref.key.name);
}

std::string status_yaml(const translate::Translation& translation, const std::vector<store::Problem>& undecodable) {
  std::string out = translation.statuses.empty() ? "statuses: []\n" : "statuses:\n";
  for (const auto& status : translation.statuses) {
    out += fmt::format("- {{object: {}, generation: {}, accepted: {}, resolvedRefs: {}", object_name(status.object),
                       status.generation, status.accepted, status.resolved_refs);
    for (const auto& parent : status.parents) out += fmt::format(", parent: {} {}", parent.kind, parent.name);
    out += "}\n";
  }
  const auto problems = [&out](const char* title, const std::vector<store::Problem>& list) {
    out += fmt::format("{}:{}\n", title, list.empty() ? " []" : "");
    for (const auto& problem : list) {
      out += fmt::format("- object: {}\n  field: {}\n  reason: {}\n  severity: {}\n  text: {}\n",
                         object_name(problem.object), problem.field, problem.reason,
                         problem.severity == store::Severity::error ? "error" : "warning", problem.text);
    }
  };
  problems("problems", translation.problems);
  if (!undecodable.empty()) problems("undecodable", undecodable);
  if (!translation.wanted_secrets.empty()) {
    out += "wantedSecrets:\n";
    for (const auto& key : translation.wanted_secrets) out += fmt::format("- {}/{}\n", key.ns, key.name);
  }
  if (translation.secrets_pending != 0) out += fmt::format("secretsPending: {}\n", translation.secrets_pending);
  for (const auto& external : translation.external_names)
    out += fmt::format("externalName: {}/{} -> {}\n", external.service.ns, external.service.name, external.host);
  return out;
}

std::vector<std::string> golden_inputs() {
  std::vector<std::string> out;
  if (!fs::exists(kGolden)) return out;
  for (const auto& entry : fs::recursive_directory_iterator(kGolden)) {
    const std::string path = entry.path().string();
    if (path.ends_with(".in.yaml")) out.push_back(fs::relative(entry.path(), kGolden).string());
  }
  std::sort(out.begin(), out.end());
  return out;
}

void check(const fs::path& file, const std::string& actual) {
  if (std::getenv("SLUICE_UPDATE_GOLDEN") != nullptr) {
    std::ofstream(file, std::ios::binary) << actual;
    return;
  }
  ASSERT_TRUE(fs::exists(file)) << file << " is missing: hack/update-golden writes it";
  EXPECT_EQ(slurp(file), actual) << file << ": if this is meant, hack/update-golden";
}

// The words of "reason": "..." and of "empty: ...".
std::vector<std::string> reasons_in(const std::string& text) {
  std::vector<std::string> out;
  for (const std::string_view before : {"\"reason\": \"", "\"empty: "}) {
    for (size_t at = text.find(before); at != std::string::npos; at = text.find(before, at + 1)) {
      const size_t from = at + before.size();
      out.push_back(text.substr(from, text.find('"', from) - from));
    }
  }
  return out;
}

class Golden : public testing::TestWithParam<std::string> {};

TEST_P(Golden, Translates) {
  const fs::path input = kGolden / GetParam();
  const test::Objects objects = test::read_objects(slurp(input), kGolden.string());
  translate::Translator translator;
  compile::Compiler compiler;
  const auto translation = translator.translate(objects.snapshot, objects.options, objects.now);
  const auto compiled = compiler.compile(translation);
  for (size_t part = 0; part < ir::kParts; ++part) {
    const Status verified = ir::verify_part(static_cast<ir::PartKind>(part), *compiled.parts[part].bytes);
    EXPECT_TRUE(verified.has_value()) << "part " << part << ": " << verified.error().message;
  }
  const std::string printed = ir_json(compiled);
  for (const std::string& reason : reasons_in(printed))
    EXPECT_NE(std::ranges::find(ir::kTableReasonWords, reason), ir::kTableReasonWords.end()) << reason;
  std::string stem = input.string();
  stem.resize(stem.size() - std::string_view(".in.yaml").size());
  check(stem + ".ir.json", printed);
  check(stem + ".status.yaml", status_yaml(translation, objects.undecodable));
}

std::string test_name(const testing::TestParamInfo<std::string>& info) {
  std::string out;
  for (const char c : info.param.substr(0, info.param.find('.')))
    out += std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return out;
}

INSTANTIATE_TEST_SUITE_P(All, Golden, testing::ValuesIn(golden_inputs()), test_name);

TEST(GoldenSet, HasAtLeastAHundredPairs) { EXPECT_GE(golden_inputs().size(), 100u); }

}  // namespace
}  // namespace sluice
