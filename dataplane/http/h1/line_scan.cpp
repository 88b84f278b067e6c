#include "dataplane/http/h1/line_scan.h"

#include "dataplane/http/chars.h"

namespace sluice::http::h1 {

Parse find_line_end(Bytes in, HeadScan& scan, size_t& line_end) {
  const char* const begin = in.data();
  const char* const end = begin + in.size();
  // The last byte seen may be the CR of a CR LF.
  size_t from = scan.seen > scan.line && begin[scan.seen - 1] == '\r' ? scan.seen - 1 : scan.seen;
  if (from < scan.line) from = scan.line;
  const char* stop = chars::find_stop(begin + from, end);
  scan.seen = in.size();
  if (stop == end || (*stop == '\r' && stop + 1 == end)) return Parse::incomplete;
  line_end = static_cast<size_t>(stop - begin);
  return *stop == '\r' && stop[1] == '\n' ? Parse::complete : Parse::failed;
}

LineScan scan_lines(Bytes in, HeadScan& scan) {
  const char* const begin = in.data();
  while (true) {
    size_t line_end = 0;
    const Parse parse = find_line_end(in, scan, line_end);
    if (parse == Parse::incomplete) {
      // Folded and nameless lines need not be waited for.
      const char* line = begin + scan.line;
      bool lone_cr = false;
      if (scan.line == in.size() || *line == '\r' || chars::is(*line, chars::kToken)) return {};
      return {Parse::failed, refuse_line_start(line, begin + in.size(), lone_cr)};
    }
    if (parse == Parse::complete && line_end == scan.line) return {Parse::complete, Reason::none};
    Field field;
    const char* next = nullptr;
    Reason reason = Reason::none;
    const Parse line = parse_field_line(begin + scan.line, begin + in.size(), field, next, reason);
    if (line != Parse::complete) return {Parse::failed, reason == Reason::none ? Reason::bad_header_name : reason};
    scan.line = scan.seen = static_cast<size_t>(next - begin);
  }
}

}  // namespace sluice::http::h1
