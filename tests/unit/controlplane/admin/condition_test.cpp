// What readiness still waits for, in the order in which it comes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "controlplane/admin/condition.h"

namespace sluice::admin {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Missing, NamesEachKindThatIsNotListed) {
  Condition condition;
  condition.in_cluster = condition.api_connected = true;
  condition.watched = {{"Ingress", "a", true}, {"Ingress", "b", false}, {"Service", "", false}};
  EXPECT_THAT(missing(condition), ElementsAre("first list of Ingress in namespace b", "first list of Service"));
  condition.api_connected = false;
  EXPECT_THAT(missing(condition), ElementsAre("first list of Ingress in namespace b", "first list of Service",
                                              "an answer of the API server"));
}

TEST(Missing, GoesOnToTheStateAndItsAcknowledgement) {
  Condition condition;
  EXPECT_THAT(missing(condition), ElementsAre("first reading of the folder"));
  condition.listed = true;
  condition.contents_wanted = 3;
  condition.contents_loaded = 1;
  EXPECT_THAT(missing(condition), ElementsAre("contents of 2 of 3 Secrets and ConfigMaps", "first state to be made"));
  condition.newest = {7, 1};
  EXPECT_THAT(missing(condition), ElementsAre("a data plane on the push socket"));
  condition.dataplane_connected = true;
  condition.workers_total = 4;
  condition.workers_ready = 3;
  EXPECT_THAT(missing(condition),
              ElementsAre("acknowledgement of the first state by all workers (3 of 4 run a state)"));
  condition.acknowledged = {7, 1};
  EXPECT_THAT(missing(condition), IsEmpty());
}

// The data plane has a readiness of its own; ours is about having something to say.
TEST(Missing, StaysReadyWhenTheDataPlaneGoes) {
  Condition condition;
  condition.listed = true;
  condition.newest = {7, 9};
  condition.acknowledged = {7, 8};
  condition.dataplane_connected = false;
  EXPECT_THAT(missing(condition), IsEmpty());
}

}  // namespace
}  // namespace sluice::admin
