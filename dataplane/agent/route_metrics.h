// What routes and namespaces counted, summed over the workers' pages. Bounded: each page has so many slots, and of the
// union of all pages the labels that came first are shown, so that a series that was shown once stays and none goes
// back; the rest is one series, "_other".
#pragma once
#include <vector>

#include "dataplane/agent/condition.h"
#include "dataplane/agent/families.h"

namespace sluice::agent {

void collect_routes(const std::vector<CounterView>& pages, Families& out);

}  // namespace sluice::agent
