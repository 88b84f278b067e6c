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

}  // namespace sluice::http::h1
