#include <gtest/gtest.h>

#include "common/tool/operator.h"

namespace sluice::tool {
namespace {

TEST(Render, IsIndentedText) {
  const auto text = render(R"({"plane":"data","ready":true,"hosts":["a","b"],"none":[],
    "workers":{"ready":2,"processes":[{"pid":7,"age":1},{"pid":8,"age":2}]}})");
  ASSERT_TRUE(text.has_value());
  EXPECT_EQ(*text,
            "plane: data\nready: true\nhosts: a, b\nnone: -\nworkers:\n  ready: 2\n  processes:\n"
            "    - pid: 7\n      age: 1\n    - pid: 8\n      age: 2\n");
}

TEST(Render, NothingSteersTheTerminal) {
  const auto text = render(R"({"text":"a\u001b[2Jb\nc"})");
  ASSERT_TRUE(text.has_value());
  EXPECT_EQ(*text, "text: a?[2Jb?c\n");
}

TEST(Render, WhatIsNoJsonIsAnError) {
  EXPECT_FALSE(render("{").has_value());
  EXPECT_FALSE(render_table("[]").has_value());
  EXPECT_FALSE(render_table(R"({"generation":1})").has_value());
}

TEST(RenderTable, HostsRoutesClustersEndpoints) {
  const auto text = render_table(R"({"generation":4,"hosts":[{"host":"a.example","routes":[
    {"path":"/x","match":"exact","object":{"kind":"Route","namespace":"n","name":"r","rule":"one"},"methods":["GET"],
     "headers":[{"name":"x-beta","kind":"exact","value":"1"}],"filters":["RateLimit"],"https_only":true,"upgrades":[],"priority":"critical",
     "action":{"type":"forward","clusters":[
       {"name":"n/s/80","object":{"kind":"Service","namespace":"n","name":"s"},"weight":9,"protocol":"h2","tls":true,
        "endpoints":[{"address":"10.0.0.1:80","draining":false},{"address":"10.0.0.2:80","draining":true}]},
       {"name":"n/t/80","object":{"kind":"Service","namespace":"n","name":"t"},"weight":2,"protocol":"http1","tls":false},
       {"weight":1,"answer":{"status":500,"reason":"service_not_found"}}]}},
    {"path":"/y","match":"prefix","object":{"kind":"Ingress","namespace":"n","name":"i"},"upgrades":["websocket","x"],
     "action":{"type":"redirect","status":301}},
    {"path":"/","match":"prefix","object":{"kind":"Ingress","namespace":"n","name":"i"},"upgrades":["websocket"],
     "action":{"type":"redirect","status":302}}]}],"hosts_left_out":3})");
  ASSERT_TRUE(text.has_value());
  EXPECT_EQ(
      *text,
      "generation 4\na.example\n"
      "  exact  /x  GET  headers x-beta exact 1  (Route n/r, rule one)  filters RateLimit  https only  upgrades none  "
      "critical\n"
      "      -> n/s/80  weight 9  (Service n/s)  h2  tls\n"
      "           10.0.0.1:80\n           10.0.0.2:80  draining\n"
      "      -> n/t/80  weight 2  (Service n/t)\n"
      "      -> nothing  weight 1  answers 500 service_not_found\n"
      "  prefix /y  (Ingress n/i)  upgrades websocket, x\n      redirect 301 \n"
      "  prefix /  (Ingress n/i)\n      redirect 302 \n3 more hosts: ask for one\n");
}

TEST(Ask, ASocketThatIsNotThereIsAnError) {
  EXPECT_FALSE(ask("/nonexistent/admin.sock", "GET", "/status").has_value());
  EXPECT_FALSE(ask(std::string(200, 'x'), "GET", "/status").has_value());
}

}  // namespace
}  // namespace sluice::tool
