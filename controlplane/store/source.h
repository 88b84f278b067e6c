// A source of objects: the API server (controlplane/kube/cluster_source.h) or a folder
// (controlplane/source/folder_source.h). The loop in controlplane/main.cpp knows no difference between them. Callbacks
// come on the io_context's thread.
#pragma once
#include <functional>
#include <vector>

#include "controlplane/store/change.h"

namespace sluice::store {

class Source {
 public:
  virtual ~Source() = default;
  struct Callbacks {
    ChangeSink change;
    std::function<void()> synced;  // once: the first whole list of every kind has been delivered
  };
  virtual void start(Callbacks callbacks) = 0;
  // The Secrets and ConfigMaps that accepted objects name (translate::Translation::wanted_*): their data is fetched and
  // delivered as Upsert with loaded=true, again whenever they change. A folder delivers everything loaded and ignores
  // this.
  virtual void want(const std::vector<ObjectKey>& secrets, const std::vector<ObjectKey>& config_maps) = 0;
  // True when every wanted object that exists has been delivered loaded, or its fetch failed at least once (then an
  // Undecodable told why). A first state made before that would serve without certificates. Becoming settled is always
  // accompanied by a change.
  [[nodiscard]] virtual bool settled() const { return true; }
  virtual void stop() = 0;
};

}  // namespace sluice::store
