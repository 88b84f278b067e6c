#include "controlplane/translate/plan.h"
namespace sluice::translate {
Plan plan_route(const store::Route&, const PlanContext&) { return {}; }
}  // namespace sluice::translate
