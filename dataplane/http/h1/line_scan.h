// Goes on with a head that did not come whole (see HeadScan): looks at the new bytes only, and checks the lines that
// they complete. Internal to h1/.
#pragma once
#include "dataplane/http/h1/field_section.h"
#include "dataplane/http/h1/head_scan.h"

namespace sluice::http::h1 {

struct LineScan {
  Parse parse = Parse::incomplete;  // complete: the empty line is there
  Reason reason = Reason::none;
};

// Field lines from scan.line on.
LineScan scan_lines(Bytes in, HeadScan& scan);

// Moves scan.seen on to the CR LF of the line that starts at scan.line. complete: `line_end` is its CR. failed: a byte
// that no line may hold.
Parse find_line_end(Bytes in, HeadScan& scan, size_t& line_end);

// The next look at a head of which a part was seen before. complete: it is whole and may be taken apart.
// `start_line(p, end, next, reason)` checks the request line or the status line.
template <class StartLine>
LineScan continue_head(Bytes in, HeadScan& scan, const Limits& limits, StartLine&& start_line) {
  if (scan.fields_start == 0) {
    size_t line_end = 0;
    if (find_line_end(in, scan, line_end) == Parse::incomplete) {
      if (in.size() > limits.request_line + 1) return {Parse::failed, Reason::request_line_too_long};
      return {};
    }
    const char* next = nullptr;
    Reason reason = Reason::bare_cr_lf;
    if (start_line(in.data(), in.data() + in.size(), next, reason) != Parse::complete) return {Parse::failed, reason};
    scan.fields_start = scan.line = scan.seen = static_cast<size_t>(next - in.data());
  }
  const LineScan found = scan_lines(in, scan);
  if (found.parse == Parse::incomplete && in.size() - scan.fields_start > limits.header_bytes + 1)
    return {Parse::failed, Reason::headers_too_large};
  return found;
}

}  // namespace sluice::http::h1
