// A config file of any bytes: refused with the options untouched, or a state that the data plane accepts.
#include <cstdint>

#include "controlplane/config/options.h"
#include "tests/fuzz/planes.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice;
  config::Options options;
  options.http_port = 80;
  options.https_port = 443;
  const ir::SettingsT before = options.settings;
  const auto status = config::load_text(std::string(reinterpret_cast<const char*>(data), size), "sluice.yaml", options);
  if (!status) {
    fuzz::require(status.error().message.starts_with("sluice.yaml:"), "an error names the file");
    fuzz::require(options.settings == before && options.watch_namespaces.empty() && !options.default_backend,
                  "a refused file changed the options");
    return 0;
  }
  fuzz::Planes planes(options);
  fuzz::require(planes.put("base.yaml", fuzz::base_objects()), "base.yaml is good");
  (void)planes.state();
  return 0;
}
