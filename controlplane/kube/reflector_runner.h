// Does what a Reflector says: calls, timer, log lines. Owns no objects and decides nothing. Lives on the io_context's
// thread.
#pragma once
#include <functional>
#include <memory>

#include "common/base/asio.h"
#include "controlplane/kube/reflector.h"

namespace sluice::kube {

class ReflectorRunner : public std::enable_shared_from_this<ReflectorRunner> {
 public:
  struct Callbacks {
    std::function<void(store::Change)> change;
    std::function<void()> synced;
  };
  ReflectorRunner(boost::asio::io_context& io, Transport& transport, Reflector reflector, Callbacks callbacks)
      : transport_(transport), timer_(io), reflector_(std::move(reflector)), callbacks_(std::move(callbacks)) {}

  void start();
  void nudge();
  void stop();  // no callback comes afterwards
  [[nodiscard]] const Reflector& reflector() const { return reflector_; }

 private:
  void act(Reflector::Actions actions);
  void send_list(std::string target);
  void send_watch(std::string target);
  void arm();

  Transport& transport_;
  boost::asio::steady_timer timer_;
  Reflector reflector_;
  Callbacks callbacks_;
  std::shared_ptr<Exchange> exchange_;
  bool stopped_ = false;
};

}  // namespace sluice::kube
