#include "dataplane/http/grpc.h"

#include <array>
#include <string>

#include <gtest/gtest.h>

namespace sluice::http::grpc {
namespace {

struct Grpc : ::testing::Test {
  ChunkPool chunks;
  Arena arena{chunks};
  bool is(std::string_view type, Method method = Method::post) {
    RequestHead head(arena);
    head.method = method;
    head.fields.add("Content-Type", type);
    return is_request(head);
  }
  std::optional<Status> said(std::string_view value) {
    Fields fields(arena);
    fields.add("grpc-status", value);
    return status_in(fields);
  }
};

TEST_F(Grpc, RequestsAreToldByMethodAndType) {
  for (const char* type : {"application/grpc", "application/grpc+proto", "application/grpc;x=y", "Application/gRPC",
                           "application/grpc ; x=y", "application/grpc+"})
    EXPECT_TRUE(is(type)) << type;
  for (const char* type : {"", "application/grp", "application/grpc-web", "application/grpc-web+proto",
                           "application/grpcx", "application/json", "text/application/grpc", " application/grpc"})
    EXPECT_FALSE(is(type)) << type;
  EXPECT_FALSE(is("application/grpc", Method::get));
  EXPECT_FALSE(is("application/grpc", Method::put));
  RequestHead bare(arena);
  bare.method = Method::post;
  EXPECT_FALSE(is_request(bare));
}

TEST_F(Grpc, StatusesAreRead) {
  EXPECT_EQ(status_in(Fields(arena)), std::nullopt);
  EXPECT_EQ(said("0"), Status::ok);
  EXPECT_EQ(said("14"), Status::unavailable);
  EXPECT_EQ(said("16"), Status::unauthenticated);
  for (const char* value : {"17", "", "-1", "+1", " 1", "1 ", "x", "4294967296", "99999999999999999999"})
    EXPECT_EQ(said(value), Status::unknown) << value;
  for (uint8_t i = 0; i < static_cast<uint8_t>(Status::kCount); ++i)
    EXPECT_EQ(digits(static_cast<Status>(i)), std::to_string(i));
}

TEST_F(Grpc, HttpStatusesAreMappedAsTheSpecificationDoes) {
  EXPECT_EQ(status_of(400), Status::internal);
  EXPECT_EQ(status_of(401), Status::unauthenticated);
  EXPECT_EQ(status_of(403), Status::permission_denied);
  EXPECT_EQ(status_of(404), Status::unimplemented);
  for (const uint16_t status : {429, 502, 503, 504}) EXPECT_EQ(status_of(status), Status::unavailable) << status;
  for (const uint16_t status : {0, 200, 204, 301, 408, 413, 417, 431, 500, 501, 505})
    EXPECT_EQ(status_of(status), Status::unknown) << status;
}

// The whole list: a new reason has to be thought about.
TEST_F(Grpc, EveryReasonHasItsStatus) {
  const std::pair<Reason, Status> known[] = {
      {Reason::bad_header_value, Status::internal},
      {Reason::rejected_path, Status::internal},
      {Reason::upgrade_refused, Status::internal},
      {Reason::unsupported_expect, Status::unknown},
      {Reason::body_too_large, Status::resource_exhausted},
      {Reason::request_body_timeout, Status::unknown},
      {Reason::client_closed, Status::cancelled},
      {Reason::no_route, Status::unimplemented},
      {Reason::no_endpoints, Status::unavailable},
      {Reason::service_not_found, Status::unavailable},
      {Reason::backend_invalid, Status::unavailable},
      {Reason::rule_invalid, Status::unavailable},
      {Reason::port_not_found, Status::unavailable},
      {Reason::name_not_resolved, Status::unavailable},
      {Reason::connect_failed, Status::unavailable},
      {Reason::connect_timeout, Status::unavailable},
      {Reason::upstream_closed, Status::unavailable},
      {Reason::upstream_reset, Status::unavailable},
      {Reason::upstream_tls_failed, Status::unavailable},
      {Reason::upstream_tls_unverified, Status::unavailable},
      {Reason::bad_response, Status::unavailable},
      {Reason::response_too_large, Status::resource_exhausted},
      {Reason::response_timeout, Status::deadline_exceeded},
      {Reason::request_timeout, Status::deadline_exceeded},
      {Reason::response_cut, Status::unavailable},
      {Reason::overloaded, Status::unavailable},
      {Reason::draining, Status::unavailable},
      {Reason::rate_limited, Status::resource_exhausted},
      {Reason::filter_denied, Status::permission_denied},
      {Reason::filter_failed, Status::internal},
      {Reason::internal, Status::internal},
  };
  for (const auto& [reason, status] : known)
    EXPECT_EQ(status_of(reason, describe(reason).status), status) << describe(reason).word;
  EXPECT_EQ(status_of(Reason::filter_denied, 401), Status::unauthenticated) << "what a filter says of itself";
  EXPECT_EQ(status_of(Reason::backend_invalid, 503), Status::unavailable);
}

TEST_F(Grpc, WhatHttpHasToHearStaysHttp) {
  EXPECT_TRUE(is_told_as_status(Reason::no_route, 404));
  EXPECT_TRUE(is_told_as_status(Reason::direct_response, 503));
  EXPECT_FALSE(is_told_as_status(Reason::direct_response, 200));
  EXPECT_FALSE(is_told_as_status(Reason::redirect, 302));
  EXPECT_FALSE(is_told_as_status(Reason::https_redirect, 308));
  EXPECT_FALSE(is_told_as_status(Reason::misdirected, 421));
}

TEST_F(Grpc, TimeoutsAreRead) {
  EXPECT_EQ(parse_timeout("1H"), 3'600'000'000u);
  EXPECT_EQ(parse_timeout("2M"), 120'000'000u);
  EXPECT_EQ(parse_timeout("3S"), 3'000'000u);
  EXPECT_EQ(parse_timeout("4m"), 4000u);
  EXPECT_EQ(parse_timeout("5u"), 5u);
  EXPECT_EQ(parse_timeout("6000n"), 6u);
  EXPECT_EQ(parse_timeout("1n"), 1u) << "rounded up";
  EXPECT_EQ(parse_timeout("0S"), 0u);
  EXPECT_EQ(parse_timeout("0n"), 0u);
  EXPECT_EQ(parse_timeout("00000007S"), 7'000'000u);
  EXPECT_EQ(parse_timeout("99999999H"), 99'999'999ull * 3'600'000'000u);
  for (const char* value : {"", "1", "S", "123456789S", "000000001S", "-1S", "+1S", "1.5S", "1s", "1h", "1 S", "1S ",
                            " 1S", "1SS", "1U", "1N", "0x1S", "1\0S"})
    EXPECT_EQ(parse_timeout(value), std::nullopt) << value;
}

TEST_F(Grpc, TimeoutsAreWrittenInTheLargestUnitThatSaysThem) {
  std::array<char, kMaxTimeout> to;
  const std::pair<uint64_t, std::string_view> cases[] = {
      {0, "0u"},
      {1, "1u"},
      {999, "999u"},
      {1000, "1m"},
      {1001, "1001u"},
      {1'000'000, "1S"},
      {1'500'000, "1500m"},
      {59'999'999, "59999999u"},
      {60'000'000, "1M"},
      {99'999'999, "99999999u"},
      {100'000'001, "100000m"},
      {3'600'000'000, "1H"},
      {5'400'000'000, "90M"},
      {99'999'999'999, "99999999m"},
      {100'000'000'001, "100000S"},
      {99'999'999ull * 3'600'000'000, "99999999H"},
      {UINT64_MAX, "99999999H"},
  };
  for (const auto& [us, text] : cases) EXPECT_EQ(write_timeout(us, to), text) << us;
  // What is written is never longer than what was meant, and loses less than one of the unit that had room.
  for (uint64_t us = 1; us < 90'000'000'000'000'000; us = us * 3 + 7) {
    const uint64_t read = parse_timeout(write_timeout(us, to)).value_or(UINT64_MAX);
    EXPECT_LE(read, us);
    EXPECT_LE(us - read, us / 10'000'000 * 60) << us;
  }
}

TEST_F(Grpc, MessagesAreEncoded) {
  EXPECT_EQ(encode_message("A sentence, plain (word)~ ", arena), "A sentence, plain (word)~ ");
  EXPECT_EQ(encode_message("100% \r\n\t\x7f", arena), "100%25 %0D%0A%09%7F");
  EXPECT_EQ(encode_message("\xC3\xA9", arena), "%C3%A9");
  EXPECT_EQ(encode_message(std::string_view("\0", 1), arena), "%00");
  EXPECT_EQ(encode_message("", arena), "");
}

}  // namespace
}  // namespace sluice::http::grpc
