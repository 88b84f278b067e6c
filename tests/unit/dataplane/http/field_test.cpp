#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <memory>
#include <cstring>
#include <string>

#include "dataplane/http/chars.h"
#include "dataplane/http/message.h"

namespace sluice::http {
namespace {

struct Named {
  Token token;
  const char* name;
};
constexpr Named kSome[] = {
    {Token::host, "host"},
    {Token::connection, "connection"},
    {Token::content_length, "content-length"},
    {Token::transfer_encoding, "transfer-encoding"},
    {Token::te, "te"},
    {Token::trailer, "trailer"},
    {Token::upgrade, "upgrade"},
    {Token::keep_alive, "keep-alive"},
    {Token::proxy_connection, "proxy-connection"},
    {Token::expect, "expect"},
    {Token::cookie, "cookie"},
    {Token::set_cookie, "set-cookie"},
    {Token::user_agent, "user-agent"},
    {Token::referer, "referer"},
    {Token::accept, "accept"},
    {Token::accept_encoding, "accept-encoding"},
    {Token::content_type, "content-type"},
    {Token::content_encoding, "content-encoding"},
    {Token::authorization, "authorization"},
    {Token::proxy_authorization, "proxy-authorization"},
    {Token::proxy_authenticate, "proxy-authenticate"},
    {Token::date, "date"},
    {Token::server, "server"},
    {Token::via, "via"},
    {Token::location, "location"},
    {Token::etag, "etag"},
    {Token::vary, "vary"},
    {Token::cache_control, "cache-control"},
    {Token::range, "range"},
    {Token::origin, "origin"},
    {Token::traceparent, "traceparent"},
    {Token::tracestate, "tracestate"},
    {Token::x_forwarded_for, "x-forwarded-for"},
    {Token::x_forwarded_proto, "x-forwarded-proto"},
    {Token::x_forwarded_host, "x-forwarded-host"},
    {Token::x_forwarded_port, "x-forwarded-port"},
    {Token::x_real_ip, "x-real-ip"},
    {Token::x_request_id, "x-request-id"},
    {Token::forwarded, "forwarded"},
    {Token::retry_after, "retry-after"},
    {Token::max_forwards, "max-forwards"},
    {Token::http2_settings, "http2-settings"},
};
static_assert(std::size(kSome) + 1 == static_cast<size_t>(Token::kCount));

TEST(TokenOf, EveryNameInAnyCase) {
  for (const Named& named : kSome) {
    std::string name = named.name;
    EXPECT_EQ(token_of(name), named.token) << name;
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::toupper(c); });
    EXPECT_EQ(token_of(name), named.token) << name;
    for (size_t i = 0; i < name.size(); i += 2) name[i] = static_cast<char>(std::tolower(name[i]));
    EXPECT_EQ(token_of(name), named.token) << name;
  }
}

TEST(TokenOf, NothingElse) {
  // Every change of one byte, and every name one shorter or longer, is another name; in memory of exactly that size.
  for (const Named& named : kSome) {
    const std::string name = named.name;
    for (size_t i = 0; i < name.size(); ++i) {
      for (int c = 0; c < 256; ++c) {
        if (chars::lower(static_cast<char>(c)) == name[i]) continue;
        std::unique_ptr<char[]> other(new char[name.size()]);
        std::memcpy(other.get(), name.data(), name.size());
        other[i] = static_cast<char>(c);
        EXPECT_EQ(token_of({other.get(), name.size()}), Token::none) << name << " " << i << " " << c;
      }
    }
    EXPECT_EQ(token_of(name + "x"), Token::none);
    EXPECT_EQ(token_of(name.substr(1)), Token::none) << name;
  }
  EXPECT_EQ(token_of(""), Token::none);
  EXPECT_EQ(token_of("x"), Token::none);
  EXPECT_EQ(token_of("x_real_ip"), Token::none);
  EXPECT_EQ(token_of(std::string(1000, 'a')), Token::none);
}

class FieldsTest : public testing::Test {
 protected:
  std::string names() {
    std::string out;
    for (const Field& field : fields.all()) out += std::string(field.name) + ",";
    return out;
  }
  ChunkPool pool;
  Arena arena{pool};
  Fields fields{arena};
};

TEST_F(FieldsTest, FindAndRemoveKeepOrder) {
  for (const char* name : {"A", "Cookie", "B", "COOKIE", "a", "C"}) fields.add(name, name);
  EXPECT_EQ(fields.find(Token::cookie)->value, "Cookie");
  EXPECT_EQ(fields.find("cOOkie")->value, "Cookie");
  EXPECT_EQ(fields.find("b")->value, "B");
  EXPECT_EQ(fields.find("d"), nullptr);
  EXPECT_EQ(fields.find(Token::host), nullptr);
  EXPECT_EQ(fields.remove(Token::cookie), 2u);
  EXPECT_EQ(names(), "A,B,a,C,");
  EXPECT_EQ(fields.remove("A"), 2u);
  EXPECT_EQ(names(), "B,C,");
  EXPECT_EQ(fields.remove("x"), 0u);
  fields.clear();
  EXPECT_EQ(fields.size(), 0u);
}

TEST_F(FieldsTest, EverySpelling) {
  for (const char* name : {"X-Real-IP", "x_real-ip", "X_REAL_IP", "X-Real-IPs", "XReal-IP"}) fields.add(name, "");
  EXPECT_EQ(fields.remove_every_spelling("x-real-ip"), 3u);
  EXPECT_EQ(names(), "X-Real-IPs,XReal-IP,");
}

TEST_F(FieldsTest, Grows) {
  for (int i = 0; i < 1000; ++i) fields.add(arena.copy(std::to_string(i)), "v");
  ASSERT_EQ(fields.size(), 1000u);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(fields.all()[static_cast<size_t>(i)].name, std::to_string(i));
}

TEST(Method, NamesAndIdempotence) {
  for (int i = 0; i < static_cast<int>(Method::other); ++i) {
    const auto method = static_cast<Method>(i);
    EXPECT_EQ(method_of(name_of(method)), method);
    const bool repeatable = method != Method::post && method != Method::patch && method != Method::connect;
    EXPECT_EQ(is_idempotent(method), repeatable) << name_of(method);
  }
  EXPECT_EQ(method_of("get"), Method::other);
  EXPECT_EQ(method_of("GETS"), Method::other);
  EXPECT_EQ(name_of(Method::other), "");
  EXPECT_FALSE(is_idempotent(Method::other));
}

// The SSE2 scans and the tables agree at every length and place.
TEST(Chars, ScansAgreeWithTables) {
  for (size_t size = 0; size < 40; ++size) {
    for (size_t at = 0; at < size; ++at) {
      for (int c = 0; c < 256; ++c) {
        std::unique_ptr<char[]> text(new char[size]);
        std::memset(text.get(), 'a', size);
        text[at] = static_cast<char>(c);
        const char* begin = text.get();
        const char* end = begin + size;
        const bool stop = (c < 0x20 && c != '\t') || c == 0x7F;
        const bool token =
            c != 0 && (std::isalnum(c) != 0 && c < 0x80 ? true : std::strchr("!#$%&'*+-.^_`|~", c) != nullptr);
        ASSERT_EQ(chars::find_stop(begin, end) - begin, static_cast<ptrdiff_t>(stop ? at : size)) << c;
        ASSERT_EQ(chars::skip_token(begin, end) - begin, static_cast<ptrdiff_t>(token ? size : at)) << c;
        ASSERT_EQ(chars::is_token({begin, size}), token) << c;
        ASSERT_EQ(chars::is_field_value({begin, size}), !stop) << c;
        ASSERT_EQ(chars::find_space_or_control(begin, end) - begin,
                  static_cast<ptrdiff_t>(c <= 0x20 || c == 0x7F ? at : size))
            << c;
      }
    }
  }
}

TEST(Chars, Elements) {
  std::string seen;
  EXPECT_TRUE(chars::for_each_element(", a ,\t,b,, c", [&](std::string_view e) {
    seen += std::string(e) + ";";
    return true;
  }));
  EXPECT_EQ(seen, "a;b;c;");
  EXPECT_FALSE(chars::for_each_element("a,b", [](std::string_view e) { return e != "b"; }));
  EXPECT_TRUE(chars::for_each_element("", [](std::string_view) { return false; }));
}

}  // namespace
}  // namespace sluice::http
