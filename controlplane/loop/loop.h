// The control plane's loop: source -> store -> translate -> compile -> publish, on one io_context thread. Nothing is
// published before the source has delivered every kind's first list and the contents that the first state needs; equal
// states are published once.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <tuple>

#include "common/base/asio.h"
#include "controlplane/compile/compile.h"
#include "controlplane/config/options.h"
#include "controlplane/publish/publisher.h"
#include "controlplane/store/source.h"
#include "controlplane/store/store.h"
#include "controlplane/translate/translate.h"

namespace sluice::loop {

struct Figures {
  uint64_t translations = 0, published = 0;
  uint64_t last_translate_us = 0, last_compile_us = 0;
  ir::StateId newest, acknowledged;
};

class Loop {
 public:
  struct Callbacks {
    // After each translation. `undecodable`: problems of objects that are not in the snapshot; `id`: the state it is
    // published as.
    std::function<void(const store::Snapshot&, const translate::Translation&,
                       const std::vector<store::Problem>& undecodable, ir::StateId id)>
        translated;
  };
  Loop(boost::asio::io_context& io, config::Options options, store::Source& source, publish::Publisher& publisher,
       Callbacks callbacks);

  void start();
  // New options from the config file: translated again at once.
  void set_options(config::Options options);
  // From the publisher's report.
  void acknowledged(ir::StateId id) { figures_.acknowledged = id; }
  [[nodiscard]] const Figures& figures() const { return figures_; }
  [[nodiscard]] const store::Store& store() const { return store_; }
  [[nodiscard]] bool synced() const { return synced_; }

 private:
  void on_change(store::Change change);
  void arm();
  void run();
  void tell_problems(const std::vector<store::Problem>& problems);

  config::Options options_;
  store::Source& source_;
  publish::Publisher& publisher_;
  Callbacks callbacks_;
  store::Store store_;
  store::Coalescer coalescer_;
  translate::Translator translator_;
  compile::Compiler compiler_;
  boost::asio::steady_timer timer_;
  Figures figures_;
  bool synced_ = false;
  std::set<std::tuple<store::ObjectRef, std::string, std::string, std::string>> told_;
};

}  // namespace sluice::loop
