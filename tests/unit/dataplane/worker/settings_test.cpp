#include "dataplane/worker/settings.h"

#include <gtest/gtest.h>

namespace sluice::worker {
namespace {

Settings read(const ir::RouteTableT& table) {
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(ir::RouteTable::Pack(builder, &table));
  Settings out;
  read_settings(*flatbuffers::GetRoot<ir::RouteTable>(builder.GetBufferPointer()), out);
  return out;
}

TEST(WorkerSettings, Http2IsAsTheSchemaSaysWithoutSettings) {
  const ir::Http2SettingsT standard;
  ir::RouteTableT table;
  for (const int settings : {0, 1, 2}) {
    if (settings > 0) table.settings = std::make_unique<ir::SettingsT>();
    if (settings > 1) table.settings->http2 = std::make_unique<ir::Http2SettingsT>();
    const Settings read_out = read(table);
    EXPECT_EQ(read_out.http2_enabled, standard.enabled) << settings;
    EXPECT_EQ(read_out.http2_cleartext, standard.cleartext) << settings;
    EXPECT_EQ(read_out.h2_extended_connect, standard.extended_connect) << settings;
    EXPECT_EQ(read_out.h2_concurrent_streams, standard.concurrent_streams) << settings;
    EXPECT_EQ(read_out.h2_stream_window, standard.stream_window) << settings;
    EXPECT_EQ(read_out.h2_connection_window, standard.connection_window) << settings;
    EXPECT_EQ(read_out.min_body_rate, 0u) << settings;
  }
}

TEST(WorkerSettings, ConnectionsAreTheKernelsUnlessEven) {
  ir::RouteTableT table;
  EXPECT_FALSE(read(table).even_connections);
  table.settings = std::make_unique<ir::SettingsT>();
  EXPECT_FALSE(read(table).even_connections);
  table.settings->connection_balance = ir::ConnectionBalance::Even;
  EXPECT_TRUE(read(table).even_connections);
}

TEST(WorkerSettings, AQueueDelayOfNoneIsKept) {
  ir::RouteTableT table;
  EXPECT_EQ(read(table).queue_delay_ms, 100u);
  table.settings = std::make_unique<ir::SettingsT>();
  table.settings->timeouts = std::make_unique<ir::TimeoutSettingsT>();
  EXPECT_EQ(read(table).queue_delay_ms, 100u);
  table.settings->timeouts->queue_delay = 0;
  EXPECT_EQ(read(table).queue_delay_ms, 0u);
}

TEST(WorkerSettings, Http2AndBodyRateAreCopied) {
  ir::RouteTableT table;
  table.settings = std::make_unique<ir::SettingsT>();
  table.settings->limits = std::make_unique<ir::LimitSettingsT>();
  table.settings->limits->min_body_rate = 240;
  table.settings->http2 = std::make_unique<ir::Http2SettingsT>();
  ir::Http2SettingsT& http2 = *table.settings->http2;
  http2.concurrent_streams = 7;
  http2.stream_window = 70'000;
  http2.connection_window = 80'000;
  // One after the other: none stands for another.
  for (bool* one : {&http2.enabled, &http2.cleartext, &http2.extended_connect}) {
    *one = false;
    const Settings out = read(table);
    EXPECT_EQ(out.http2_enabled, http2.enabled);
    EXPECT_EQ(out.http2_cleartext, http2.cleartext);
    EXPECT_EQ(out.h2_extended_connect, http2.extended_connect);
    *one = true;
    EXPECT_EQ(out.h2_concurrent_streams, 7u);
    EXPECT_EQ(out.h2_stream_window, 70'000u);
    EXPECT_EQ(out.h2_connection_window, 80'000u);
    EXPECT_EQ(out.min_body_rate, 240u);
  }
}

}  // namespace
}  // namespace sluice::worker
