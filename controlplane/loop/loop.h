// The control plane's loop: source -> store -> translate -> compile -> publish, on one io_context thread. Nothing is
// published before the source has delivered every kind's first list and the contents that the first state needs; equal
// states are published once.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/base/asio.h"
#include "controlplane/compile/compile.h"
#include "controlplane/config/options.h"
#include "controlplane/publish/publisher.h"
#include "controlplane/resolve/names.h"
#include "controlplane/store/source.h"
#include "controlplane/store/store.h"
#include "controlplane/translate/translate.h"

namespace sluice::loop {

struct Figures {
  uint64_t translations = 0, published = 0;
  ir::StateId newest, acknowledged;
  // Of the newest state.
  std::array<uint64_t, ir::kParts> part_bytes{};
  size_t hosts = 0, clusters = 0, certificates = 0;
};

// One translation and what became of it. Nanoseconds; `wait`: from the first change of the burst. `publish` until the
// frame is at the socket.
struct Round {
  uint64_t wait_ns = 0, translate_ns = 0, compile_ns = 0, publish_ns = 0;
  bool published = false;  // a new state; its id is figures().newest
};

class Loop {
 public:
  struct Callbacks {
    // After each translation. `undecodable`: problems of objects that are not in the snapshot; `id`: the state it is
    // published as.
    std::function<void(const store::Snapshot&, const translate::Translation&,
                       const std::vector<store::Problem>& undecodable, ir::StateId id)>
        translated;
    // Something was told that makes no difference (a status was written): the state `id` holds all the same.
    std::function<void(const store::Snapshot&, ir::StateId id)> touched;
    std::function<void(const Round&)> measured;  // after each round that got as far as publishing
  };
  // `names` may be null: then ExternalName Services lead to literal addresses only.
  Loop(boost::asio::io_context& io, config::Options options, store::Source& source, resolve::Names* names,
       publish::Publisher& publisher, Callbacks callbacks);

  void start();
  // New options from the config file: translated again at once.
  void set_options(config::Options options);
  // From the publisher's report.
  void acknowledged(ir::StateId id) { figures_.acknowledged = id; }
  [[nodiscard]] const Figures& figures() const { return figures_; }
  [[nodiscard]] const store::Store& store() const { return store_; }
  [[nodiscard]] bool synced() const { return synced_; }
  // Of the newest translation and of what cannot be decoded, each once, by object and field.
  [[nodiscard]] const std::vector<store::Problem>& problems() const { return problems_; }

 private:
  void on_change(store::Change change);
  void want(const translate::Translation& translation);
  void changed();
  void arm();
  void run();
  void tell_problems(std::vector<store::Problem> problems);

  config::Options options_;
  store::Source& source_;
  resolve::Names* names_;
  publish::Publisher& publisher_;
  Callbacks callbacks_;
  store::Store store_;
  store::Coalescer coalescer_;
  translate::Translator translator_;
  compile::Compiler compiler_;
  boost::asio::steady_timer timer_;
  Figures figures_;
  bool synced_ = false;
  uint64_t wanted_version_ = 0;
  std::vector<std::string> wanted_names_;
  uint64_t first_change_ns_ = 0;  // of the burst under way
  std::vector<store::Problem> problems_;
};

}  // namespace sluice::loop
