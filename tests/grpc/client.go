package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// With a peer that says nothing: a hang becomes a failure, and nothing waits so long that works.
const patience = 60 * time.Second

type client struct{ conn *grpc.ClientConn }

func dial(name, address string, args []string, more func(*flag.FlagSet)) (*client, []string, error) {
	flags := flag.NewFlagSet(name, flag.ExitOnError)
	authority := flags.String("authority", "", "the :authority, and the name asked for by TLS")
	ca := flags.String("ca", "", "certificate file to trust; none: cleartext")
	if more != nil {
		more(flags)
	}
	if err := flags.Parse(args); err != nil {
		return nil, nil, err
	}
	c := insecure.NewCredentials()
	if *ca != "" {
		var err error
		if c, err = credentials.NewClientTLSFromFile(*ca, *authority); err != nil {
			return nil, nil, err
		}
	}
	options := []grpc.DialOption{grpc.WithTransportCredentials(c), grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(), grpc.WithNoProxy(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage))}
	if *authority != "" {
		options = append(options, grpc.WithAuthority(*authority))
	}
	conn, err := grpc.NewClient("passthrough:///"+address, options...)
	return &client{conn}, flags.Args(), err
}

func (c *client) unary(ctx context.Context, method string, in []byte, options ...grpc.CallOption) ([]byte, error) {
	if !strings.HasPrefix(method, "/") {
		method = "/" + service + "/" + method
	}
	var out bytesValue
	err := c.conn.Invoke(ctx, method, wrapperspb.Bytes(in), &out, options...)
	return out.GetValue(), err
}

func (c *client) stream(ctx context.Context, method string) (grpc.ClientStream, error) {
	return c.conn.NewStream(ctx, &grpc.StreamDesc{StreamName: method, ServerStreams: true, ClientStreams: true}, "/"+service+"/"+method)
}

func (c *client) count(ctx context.Context, method string) (int64, error) {
	out, err := c.unary(ctx, method, nil)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(string(out), 10, 64)
}

// Until a count of the server has grown: a cancellation travels on its own.
func (c *client) grows(ctx context.Context, method string, before int64) error {
	for {
		now, err := c.count(ctx, method)
		if err != nil {
			return err
		}
		if now > before {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func is(err error, code codes.Code, message string) error {
	s := status.Convert(err)
	if s.Code() != code || (message != "" && s.Message() != message) {
		return fmt.Errorf("wanted %v %q, got %v %q", code, message, s.Code(), s.Message())
	}
	return nil
}

func same(got, want []byte) error {
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%d bytes %x instead of %d bytes %x", len(got), sha256.Sum256(got), len(want), sha256.Sum256(want))
	}
	return nil
}

type testCase struct {
	name string
	run  func(context.Context, *client) error
}

var cases = []testCase{
	{"unary", func(ctx context.Context, c *client) error {
		for i := 0; i < 50; i++ {
			want := []byte("hello " + strconv.Itoa(i))
			out, err := c.unary(ctx, "Unary", want)
			if err = errors.Join(err, same(out, want)); err != nil {
				return err
			}
		}
		return nil
	}},
	{"unary-empty", func(ctx context.Context, c *client) error {
		out, err := c.unary(ctx, "Unary", nil)
		return errors.Join(err, same(out, nil))
	}},
	{"unary-parallel", func(ctx context.Context, c *client) error {
		results := make(chan error)
		for i := 0; i < 200; i++ {
			go func() {
				want := pattern(i * 100)
				out, err := c.unary(ctx, "Unary", want)
				results <- errors.Join(err, same(out, want))
			}()
		}
		var all error
		for i := 0; i < 200; i++ {
			all = errors.Join(all, <-results)
		}
		return all
	}},
	{"metadata", func(ctx context.Context, c *client) error {
		ctx = metadata.AppendToOutgoingContext(ctx, "x-text", "a value, with a comma", "x-twice", "1", "x-twice", "2", "x-raw-bin", "\x00\xff\n")
		var header, trailer metadata.MD
		if _, err := c.unary(ctx, "Unary", []byte("m"), grpc.Header(&header), grpc.Trailer(&trailer)); err != nil {
			return err
		}
		for name, want := range map[string][]string{"x-text": {"a value, with a comma"}, "x-twice": {"1", "2"}, "x-raw-bin": {"\x00\xff\n"}} {
			if got := header.Get(name); strings.Join(got, "|") != strings.Join(want, "|") {
				return fmt.Errorf("header %s: %q", name, got)
			}
			end := name + "-trailer"
			if name == "x-raw-bin" {
				end = "x-raw-trailer-bin"
			}
			if got := trailer.Get(end); strings.Join(got, "|") != strings.Join(want, "|") {
				return fmt.Errorf("trailer %s: %q", end, got)
			}
		}
		return nil
	}},
	{"error-trailers-only", func(ctx context.Context, c *client) error {
		for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
			want := fmt.Sprintf("no, for %d reasons: 100%% \"so\" \u00e9", code)
			_, err := c.unary(ctx, "Fail", fmt.Appendf(nil, "%d %s", code, want))
			if err = is(err, code, want); err != nil {
				return err
			}
		}
		return nil
	}},
	{"unimplemented-by-server", func(ctx context.Context, c *client) error {
		_, err := c.unary(ctx, "NoSuchMethod", nil)
		return is(err, codes.Unimplemented, "unknown method NoSuchMethod for service "+service)
	}},
	{"server-stream", func(ctx context.Context, c *client) error {
		s, err := c.stream(ctx, "ServerStream")
		if err != nil {
			return err
		}
		if err := errors.Join(s.SendMsg(wrapperspb.Bytes([]byte("1000"))), s.CloseSend()); err != nil {
			return err
		}
		for i := 0; ; i++ {
			var out bytesValue
			err := s.RecvMsg(&out)
			if err == io.EOF {
				if i != 1000 || strings.Join(s.Trailer().Get("x-count"), ",") != "1000" {
					return fmt.Errorf("%d messages, trailer %v", i, s.Trailer())
				}
				return nil
			}
			if err = errors.Join(err, same(out.GetValue(), number(int64(i)))); err != nil {
				return err
			}
		}
	}},
	{"client-stream", func(ctx context.Context, c *client) error {
		s, err := c.stream(ctx, "ClientStream")
		if err != nil {
			return err
		}
		for i := 0; i < 500; i++ {
			if err := s.SendMsg(wrapperspb.Bytes(pattern(1000))); err != nil {
				return err
			}
		}
		var out bytesValue
		err = errors.Join(s.CloseSend(), s.RecvMsg(&out))
		return errors.Join(err, same(out.GetValue(), []byte("500 500000")))
	}},
	{"bidi", func(ctx context.Context, c *client) error {
		s, err := c.stream(ctx, "Bidi")
		if err != nil {
			return err
		}
		// Each waits for the one before: nothing between may hold a message back until more comes.
		for i := 0; i < 100; i++ {
			var out bytesValue
			want := pattern(i)
			if err := errors.Join(s.SendMsg(wrapperspb.Bytes(want)), s.RecvMsg(&out), same(out.GetValue(), want)); err != nil {
				return err
			}
		}
		var out bytesValue
		if err := s.CloseSend(); err != nil {
			return err
		}
		if err := s.RecvMsg(&out); err != io.EOF {
			return fmt.Errorf("no end: %v", err)
		}
		return nil
	}},
	{"bidi-fails-in-the-middle", func(ctx context.Context, c *client) error {
		s, err := c.stream(ctx, "Bidi")
		if err != nil {
			return err
		}
		var out bytesValue
		if err := errors.Join(s.SendMsg(wrapperspb.Bytes([]byte("one"))), s.RecvMsg(&out), s.SendMsg(wrapperspb.Bytes([]byte("fail")))); err != nil {
			return err
		}
		return is(s.RecvMsg(&out), codes.DataLoss, "as asked, in the middle")
	}},
	{"large", func(ctx context.Context, c *client) error {
		want := pattern(4 << 20)
		out, err := c.unary(ctx, "Unary", want)
		return errors.Join(err, same(out, want))
	}},
	{"large-answer", func(ctx context.Context, c *client) error {
		out, err := c.unary(ctx, "Large", []byte(strconv.Itoa(16<<20)))
		return errors.Join(err, same(out, pattern(16<<20)))
	}},
	{"cancel-reaches-the-server", func(ctx context.Context, c *client) error {
		before, err := c.count(ctx, "Cancelled")
		if err != nil {
			return err
		}
		s, stop, err := c.begun(ctx)
		if err != nil {
			return err
		}
		stop()
		var out bytesValue
		if err := is(s.RecvMsg(&out), codes.Canceled, ""); err != nil {
			return err
		}
		return c.grows(ctx, "Cancelled", before)
	}},
	{"deadline-is-passed-on", func(ctx context.Context, c *client) error {
		left, err := c.count(ctx, "Deadline")
		if err != nil {
			return err
		}
		if left <= 0 || left > patience.Milliseconds() {
			return fmt.Errorf("%d ms were left of %v", left, patience)
		}
		return nil
	}},
	{"deadline", func(ctx context.Context, c *client) error {
		before, err := c.count(ctx, "Expired")
		if err != nil {
			return err
		}
		// By either clock: the client may tell of its own deadline before the server can.
		gone, err := c.count(ctx, "Cancelled")
		if err != nil {
			return err
		}
		short, stop := context.WithTimeout(ctx, 300*time.Millisecond)
		defer stop()
		_, err = c.unary(short, "Hang", nil)
		if err := is(err, codes.DeadlineExceeded, ""); err != nil {
			return err
		}
		for {
			now, err := c.count(ctx, "Expired")
			later, other := c.count(ctx, "Cancelled")
			if err = errors.Join(err, other); err != nil {
				return err
			}
			if now > before || later > gone {
				return nil
			}
			time.Sleep(10 * time.Millisecond)
		}
	}},
	{"health", func(ctx context.Context, c *client) error {
		h := healthpb.NewHealthClient(c.conn)
		for _, name := range []string{"", service} {
			answer, err := h.Check(ctx, &healthpb.HealthCheckRequest{Service: name})
			if err != nil {
				return err
			}
			if answer.GetStatus() != healthpb.HealthCheckResponse_SERVING {
				return fmt.Errorf("%q is %v", name, answer.GetStatus())
			}
		}
		_, err := h.Check(ctx, &healthpb.HealthCheckRequest{Service: "none"})
		return is(err, codes.NotFound, "")
	}},
}

// A bidirectional call that has arrived: its first message came back.
func (c *client) begun(ctx context.Context) (grpc.ClientStream, context.CancelFunc, error) {
	ctx, stop := context.WithCancel(ctx)
	s, err := c.stream(ctx, "Bidi")
	if err == nil {
		var out bytesValue
		err = errors.Join(s.SendMsg(wrapperspb.Bytes([]byte("here"))), s.RecvMsg(&out))
	}
	if err != nil {
		stop()
		return nil, nil, err
	}
	return s, stop, nil
}

func check(address string, args []string) error {
	var only string
	c, _, err := dial("check", address, args, func(f *flag.FlagSet) { f.StringVar(&only, "only", "", "names of cases, comma-separated") })
	if err != nil {
		return err
	}
	defer c.conn.Close()
	passed, failed := 0, 0
	for _, one := range cases {
		if only != "" && !strings.Contains(","+only+",", ","+one.name+",") {
			continue
		}
		ctx, stop := context.WithTimeout(context.Background(), patience)
		if err := one.run(ctx, c); err != nil {
			fmt.Printf("FAIL %s: %s\n", one.name, strings.ReplaceAll(err.Error(), "\n", "; "))
			failed++
		} else {
			fmt.Printf("ok %s\n", one.name)
			passed++
		}
		stop()
	}
	fmt.Printf("%d passed, %d failed\n", passed, failed)
	if failed != 0 || passed == 0 {
		return errors.New("not all passed")
	}
	return nil
}

func call(address string, args []string) error {
	c, rest, err := dial("call", address, args, nil)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return errors.New("call ADDRESS METHOD")
	}
	defer c.conn.Close()
	ctx, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	_, err = c.unary(ctx, rest[0], nil)
	s := status.Convert(err)
	fmt.Printf("%s %s\n", s.Code(), s.Message())
	return nil
}
