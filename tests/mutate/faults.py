"""100 faults as people make them, each to be caught by a test: 40 in the HTTP/1 parser, 20 in framing, 20 in the matcher, 20 in the swap.

One entry: id, file, the text it replaces (once in the file), the text in its place, what it breaks. hack/mutate says how they are used.
"""

ROOM_OF = {
    'dataplane/http/': 'http', 'dataplane/route/': 'route', 'dataplane/upstream/': 'upstream', 'dataplane/sync/': 'sync',
    'dataplane/worker/': 'worker', 'common/ir/': 'ir', 'controlplane/store/': 'store', 'controlplane/compile/': 'compile',
}
FAULTS = []


def fault(name, file, old, new, breaks):
    room = next(room for prefix, room in ROOM_OF.items() if file.startswith(prefix))
    FAULTS.append({'id': name, 'file': file, 'old': old, 'new': new, 'room': room, 'breaks': breaks})


REQUEST = 'dataplane/http/h1/request_reader.cpp'
RESPONSE = 'dataplane/http/h1/response_reader.cpp'
SECTION = 'dataplane/http/h1/field_section.cpp'
LINES = 'dataplane/http/h1/line_scan.cpp'
PIECES = 'dataplane/http/h1/line_scan.h'
BODY = 'dataplane/http/h1/body_reader.cpp'
WRITER = 'dataplane/http/h1/writer.cpp'
PATH = 'dataplane/http/path.cpp'
AUTHORITY = 'dataplane/http/authority.cpp'
FIELD = 'dataplane/http/field.cpp'
TARGET = 'dataplane/http/target.cpp'
TRAILERS = 'dataplane/http/trailers.cpp'
WRITTEN = 'dataplane/http/written_field.h'

# --- Parser: the request line and what becomes of it -------------------------------------------------------------------------------
fault('request-minor-version', REQUEST, "version[7] > '1'", "version[7] > '2'", 'HTTP/1.2 is taken for HTTP/1.0')
fault('request-line-end', REQUEST, r"if (version[8] != '\r' || version[9] != '\n') {", r"if (version[8] != '\r') {",
      'CR and any byte end the request line')
fault('request-star', REQUEST, 'return head.method == Method::options ? Reason::none : Reason::bad_target;', 'return Reason::none;',
      '"*" with any method')
fault('request-https-form', REQUEST, 'if (!chars::equal_without_case(name, "http") && !chars::equal_without_case(name, "https"))',
      'if (!chars::equal_without_case(name, "http"))', 'absolute-form with https is refused')
fault('request-authority-end', REQUEST, 'find_first_of("/?#", begin)', 'find_first_of("/#", begin)',
      'the query belongs to the authority of an absolute-form without a path')
fault('request-empty-authority', REQUEST, '    if (authority.empty()) return Reason::bad_host;\n', '', 'http:///path is taken')
fault('request-query-flag', TARGET, '    head.has_query = true;\n', '', 'queries are lost')
fault('request-two-hosts', REQUEST, 'if (facts.hosts > 1) return', 'if (facts.hosts > 2) return', 'two Host lines')
fault('request-host-10', REQUEST, 'if (facts.hosts == 0 && head.version == Version::http11)', 'if (facts.hosts == 0)',
      'HTTP/1.0 without Host is refused')
fault('request-host-wins', REQUEST, '  if (!authority.empty()) {\n    const Authority host', '  if (!authority.empty() && facts.hosts == 0) {\n    const Authority host',
      'Host wins over the authority of the target')
fault('request-upgrade-10', REQUEST, 'if (options.upgrade && http11 && facts.upgrades == 1)', 'if (options.upgrade && facts.upgrades == 1)',
      'HTTP/1.0 may upgrade')
fault('request-expectation', REQUEST, 'if (facts.expects > 1 || !chars::equal_without_case(facts.expect, "100-continue"))', 'if (facts.expects > 1)',
      'unknown expectations are taken')
fault('request-port-stays', REQUEST, '  head.port = 0;\n', '', 'a request keeps the port of the one before')
fault('request-empty-lines', REQUEST, '      skipped_empty_line_ = true;\n', '', 'any number of empty lines before a request')
fault('request-skipped-bytes', REQUEST, '  step.consumed += skipped;\n', '', 'the empty line before a request is not consumed')
fault('request-line-limit', REQUEST, 'line_size > limits.request_line)', 'line_size >= limits.request_line)', 'a line of exactly the limit is refused')
fault('request-line-pieces', PIECES, '      if (in.size() > limits.request_line + 1) return {Parse::failed, Reason::request_line_too_long};\n', '',
      'no limit to a request line that comes in pieces')
fault('request-head-pieces', PIECES, ' && in.size() - scan.fields_start > limits.header_bytes + 1)', ' && false)',
      'no limit to a head that comes in pieces')
fault('request-connect', REQUEST, '  if (head.method == Method::connect) return Reason::connect_refused;\n', '', 'CONNECT is taken for a request')

# --- Parser: fields -----------------------------------------------------------------------------------------------------------------
fault('field-leading-tab', SECTION, r"while (value != end && (*value == ' ' || *value == '\t')) ++value;", "while (value != end && *value == ' ') ++value;",
      'a tab before a value belongs to it')
fault('field-trailing-blanks', SECTION, 'while (stop != value &&', 'if (stop != value &&', 'only one blank behind a value is cut')
fault('field-count', SECTION, 'if (++count > limits.header_count) {', 'if (++count > limits.header_count + 1) {', 'one field more than the limit')
fault('field-bytes', SECTION, 'if (static_cast<size_t>(p - begin) > limits.header_bytes) {', 'if (static_cast<size_t>(p - begin) >= limits.header_bytes) {',
      'a section of exactly the limit is refused')
fault('field-named-away', SECTION, '    case Token::x_forwarded_for:\n', '', 'Connection: X-Forwarded-For removes it')
fault('field-options', SECTION, 'kMaxNamedFields = 32', 'kMaxNamedFields = 3200', 'no bound to the connection options')
fault('field-proxy-authorization', SECTION, '    case Token::proxy_authorization:\n      return direction == Direction::response;',
      '    case Token::proxy_authorization:\n      return true;', 'Proxy-Authorization reaches the upstream')
fault('field-rebase', SECTION, '  (*this)(facts.upgrade);\n', '', 'Upgrade points into the read buffer')
fault('field-te-weight', SECTION, "element.substr(0, element.find(';'))", 'element', 'TE: trailers;q=1 is not understood')
fault('lines-split-crlf', LINES, r"scan.seen > scan.line && begin[scan.seen - 1] == '\r' ? scan.seen - 1 : scan.seen;", 'scan.seen;',
      'a CR LF that comes in two reads')
fault('token-middle', FIELD, 'return same_at<uint32_t>(entry, name, 0) && same_at<uint32_t>(entry, name, size - 4);',
      'return same_at<uint32_t>(entry, name, 0);', 'the middle of a short name is not compared')
fault('token-longest', FIELD, 'name.size() > kMaxName)', 'name.size() >= kMaxName)', 'the longest known name is unknown')
fault('fields-spelling', FIELD, "const char x = a[i] == '_' ? '-' : chars::lower(a[i]);", 'const char x = chars::lower(a[i]);',
      'x_forwarded_for stays where X-Forwarded-For is removed')

# --- Parser: path and authority -----------------------------------------------------------------------------------------------------
fault('path-parameter-dots', PATH, "segment.find(';')", "segment.find(':')", '"..;x" is let through')
fault('path-backslash', PATH, r"if (value == 0 || value == '\\') return", 'if (value == 0) return', '%5C is let through')
fault('path-decodes-slash', PATH, 'if (chars::is(static_cast<char>(value), chars::kUnreserved)) {', "if (chars::is(static_cast<char>(value), chars::kUnreserved) || value == '/') {",
      '%2F becomes a slash')
fault('path-above-root', PATH, 'if (start_ == 1) return Reason::rejected_path;', 'if (start_ == 1) return Reason::none;', 'climbing above the root is ignored')
fault('path-quick-dots', PATH, "dot |= before == '/' && c == '.';", "dot |= before == '.' && c == '.';", '"/./" is let through')
fault('authority-port-zero', AUTHORITY, "text.size() > 5 || text.front() == '0') return 0;", 'text.size() > 5) return 0;', 'a port with leading zeros')
fault('authority-port-range', AUTHORITY, 'return value <= 65535 ? static_cast<uint16_t>(value) : 0;', 'return static_cast<uint16_t>(value);', 'port 65616 is 80')
fault('authority-short-ipv4', AUTHORITY, 'return parts == 4;', 'return parts <= 4;', '127.1 is an address')

# --- Framing: how long a message is, and whether another follows ----------------------------------------------------------------------
fault('frame-both-lengths', REQUEST, '    if (facts.lengths != 0) return Reason::both_lengths;\n', '', 'Transfer-Encoding and Content-Length in a request')
fault('frame-te-10', REQUEST, '    if (head.version == Version::http10) return Reason::te_in_http10;\n', '', 'Transfer-Encoding in HTTP/1.0')
fault('frame-te-name', REQUEST, 'if (facts.encodings > 1 || !chars::equal_without_case(facts.encoding, "chunked"))', 'if (facts.encodings > 1)',
      'any transfer coding is read as chunked')
fault('frame-two-lengths', REQUEST, '    if (facts.lengths > 1) return Reason::bad_content_length;\n', '', 'two Content-Length lines, the last counts')
fault('frame-length-overflow', SECTION, 'text.size() > 19)', 'text.size() > 20)', 'a length of 20 digits wraps')
fault('frame-request-close', REQUEST, 'keep_alive = !options.close && (http11 || options.keep_alive);', 'keep_alive = http11 || options.keep_alive;',
      'Connection: close of a client is ignored')
fault('frame-304', RESPONSE, 'if (method == Method::head || head.status == 304)', 'if (method == Method::head)', 'the body of a 304 is waited for')
fault('frame-no-length', RESPONSE, 'else if (!length) kind = BodyKind::until_close;', 'else if (!length) kind = BodyKind::none;',
      'an answer without a length has no body')
fault('frame-204-reuse', RESPONSE, 'reusable = facts.encodings == 0 && length.value_or(0) == 0;', 'reusable = facts.encodings == 0;',
      'a connection with a 204 that announces a body is used again')
fault('frame-interim-close', RESPONSE, '!interim_close_ && ', '', 'close in an interim answer is forgotten')
fault('frame-interim-count', RESPONSE, 'if (++interim_ > kMaxInterim)', 'if (interim_ > kMaxInterim)', 'interim answers without end')
fault('frame-size-digits', BODY, 'kMaxSizeDigits = 15', 'kMaxSizeDigits = 17', 'a chunk size wraps')
fault('frame-chunk-end', BODY, r"if (in[0] != '\r' || (in.size() > 1 && in[1] != '\n')) return", r"if (in[0] != '\r') return",
      'CR and any byte end a chunk')
fault('frame-extension-sum', BODY, 'extension_bytes_ + extensions > kMaxExtensionBytes', 'extensions > kMaxExtensionBytes',
      'chunk extensions without end')
fault('frame-trailer-framing', TRAILERS, '    case Token::content_length:\n', '', 'Content-Length in trailers is dropped instead of refused')
fault('frame-quick-end', BODY, '    step.consumed += kEnd.size();\n', '', 'the end of a chunked body is read as the next message')
fault('write-values', WRITTEN, ' && chars::is_field_value(field.value);', ';', 'CR LF in a value makes new fields')
fault('write-our-te', WRITTEN, '    case Token::transfer_encoding:\n', '', 'a second Transfer-Encoding is written')
fault('write-204-length', WRITER, 'if (head.content_length && !interim && head.status != 204)', 'if (head.content_length && !interim)',
      'Content-Length in a 204')
fault('write-until-close', WRITER, '      close = true;\n', '', 'a body until close does not say so')

# --- Matcher ------------------------------------------------------------------------------------------------------------------------
PREDICATES = 'dataplane/route/predicates.cpp'
ROUTER = 'dataplane/route/router.cpp'
HOST = 'dataplane/route/virtual_host.cpp'
fault('match-hex', PREDICATES, "c - 'a' + 10 : -1", "c - 'a' + 9 : -1", 'escapes with letters decode to another byte')
fault('match-escape-end', PREDICATES, 'at + 1 >= text.size()', 'at + 2 >= text.size()', 'an escape at the end of a value is not decoded')
fault('match-query-name', PREDICATES, 'return i == plain.size();', 'return true;', 'the start of a parameter name is enough')
fault('match-joined', PREDICATES, 'if (found == 2) joined.assign(value);', '', 'the first of several header lines is lost')
fault('match-value-prefix', PREDICATES, 'return value.starts_with(expected);', 'return value.find(expected) != std::string_view::npos;',
      'a header prefix matches anywhere')
fault('match-query-separator', PREDICATES, "query.find('&')", "query.find(';')", 'only the first query parameter is seen')
fault('match-query-decoding', PREDICATES, 'if (found) value = decode(', 'if (!found) value = decode(', 'query values are not decoded')
fault('match-second-regex', PREDICATES, 'regexes_[regex++].get()', 'regexes_[regex].get()', 'the second regex of a route is the first')
fault('match-changed-host', ROUTER, 'if (host->epoch == epoch || host->hash() == ref->hash()) {', 'if (host->epoch == epoch || host->name() == name) {',
      'a changed virtual host is not loaded')
fault('match-wildcard-labels', ROUTER, "host.find('.');", "host.rfind('.');", 'a wildcard takes several labels')
fault('match-cache-answer', ROUTER, '      other_slot.host = found;\n', '', 'the second request for a wildcard host finds none')
fault('match-cache-epoch', ROUTER, 'if (one->tag == tag && one->epoch == round && one->host->name() == host)',
      'if (one->tag == tag && one->host != nullptr && one->host->name() == host)', 'the host cache survives a swap')
fault('match-cache-name', ROUTER, 'std::string_view(other_slot.name.data(), other_slot.size) == host)', 'other_slot.size == host.size())',
      'the host cache mixes up names')
fault('match-sweep', ROUTER, 'if (ref == nullptr || ref->hash() != host->hash()) {', 'if (ref == nullptr) {', 'a changed host is taken for the same')
fault('match-loaded-index', ROUTER, '      loaded[at]->loaded_index = at;\n', '', 'the list of hosts loses its order')
fault('match-prefix-parent', HOST, '    if (!open.empty()) entry.parent = open.back();\n', '', 'shorter prefixes are not tried')
fault('match-exact', HOST, 'if (exact != exact_.end() && exact->path == path && all', 'if (exact != exact_.end() && all', 'the next exact path matches')
fault('match-elements', HOST, "if (length != 0 && length != path.size() && path[length] != '/') continue;", '', '/foo is a prefix of /foobar')
fault('match-route-count', HOST, 'return i < route_count; }', 'return i <= route_count; }', 'an index past the routes')
fault('match-plain', HOST, ' && !holds_any(entry.route->query());', ';', 'query predicates are not looked at')

# --- Swap: from changed objects to the tables in use ----------------------------------------------------------------------------------
STATE = 'dataplane/worker/state.cpp'
MESSAGES = 'dataplane/sync/messages.cpp'
CLUSTER = 'dataplane/upstream/cluster.cpp'
UPSTREAMS = 'dataplane/upstream/upstreams.cpp'
POOL = 'dataplane/upstream/idle_pool.cpp'
VERIFY = 'common/ir/verify.cpp'
VERIFY_ROUTE = 'common/ir/verify_route.cpp'
STORE = 'controlplane/store/store.cpp'
TABLE_PARTS = 'controlplane/compile/table_parts.cpp'
PART_WRITER = 'controlplane/compile/part_writer.h'
fault('swap-mappings', STATE, '  parts_ = std::move(parts);\n', '', 'the tables in use are unmapped')
fault('swap-schema', STATE, 'if (table->schema_version() != ir::kSchemaVersion)', 'if (table->schema_version() > ir::kSchemaVersion)',
      'a table of an older schema is used')
fault('swap-short-packet', MESSAGES, 'if (static_cast<size_t>(n) != sizeof(Message))', 'if (static_cast<size_t>(n) > sizeof(Message))',
      'half a message is taken')
fault('swap-more-fds', MESSAGES, '      else fits = false;\n', '', 'descriptors too many go unnoticed')
fault('swap-endpoints', CLUSTER, 'if (from != nullptr && known_ && from->hash() == endpoints_hash_) return;', 'if (from != nullptr && known_) return;',
      'endpoints never change')
fault('swap-draining', CLUSTER, 'endpoint->state() == ir::EndpointState::Ready);', 'true);', 'draining endpoints get new streams')
fault('swap-cluster', UPSTREAMS, 'if (now != nullptr && now->hash() == cluster.hash()) {', 'if (now != nullptr) {', 'a changed cluster stays as it was')
fault('swap-cluster-index', UPSTREAMS, '    clusters[at]->index = at;\n', '', 'the list of clusters loses its order')
fault('swap-cap', POOL, '  if (size_ > cap_) oldest_->close();', '  if (size_ > cap_ + 1) oldest_->close();', 'one idle connection too many')
fault('swap-schema-newer', VERIFY, '(*found)->schema_version() != kSchemaVersion', '(*found)->schema_version() < kSchemaVersion',
      'a table of a newer schema passes')
fault('swap-endpoint-twice', VERIFY, 'if (k > 0 && !(before < here))', 'if (k > 0 && here < before)', 'an endpoint twice passes')
fault('swap-host-name', VERIFY, 'if (view((*host)->host()) != view(ref.host()))', 'if (view((*host)->host()).size() != view(ref.host()).size())',
      'a virtual host under the name of another passes')
fault('swap-route-index', VERIFY_ROUTE, 'if (index >= routes)', 'if (index > routes)', 'an index past the routes passes')
fault('swap-resource-version', STORE, '  copy.meta.resource_version = a.meta.resource_version;\n', '', 'each write of a status makes a table')
fault('swap-relist-scope', STORE, '[&](const ObjectKey& key) { return replace.ns.empty() || key.ns == replace.ns; }', '[&](const ObjectKey&) { return true; }',
      'a relist of one namespace deletes the others')
fault('swap-relist-order', STORE, '  std::ranges::sort(kept);\n', '', 'a relist in another order takes objects away for a moment')
fault('swap-burst', STORE, 'std::min(now_ms + kQuietMs, *first_ + kMaxMs)', 'now_ms + kQuietMs', 'a burst puts the table off without end')
fault('swap-table-memo', TABLE_PARTS, '  if (same) return;\n', '  if (head_part_.bytes && lists_.empty()) return;\n', 'the table is made once')
fault('swap-host-hash', TABLE_PARTS, 'hash_of(nested_)', '0', 'a changed host has the hash of the one before')
fault('swap-last-list', PART_WRITER, '      if (items_[i] != now[i]) items_[i] = now[i];\n', '      if (items_[i] == nullptr) items_[i] = now[i];\n', 'endpoints that come back are not compiled')
