package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const (
	service    = "sluice.test.Echo"
	maxMessage = 32 << 20
)

type bytesValue = wrapperspb.BytesValue

// Calls whose context was cancelled by the client, and those whose deadline came; Cancelled and Deadlines ask for them.
var cancelled, expired atomic.Int64

func note(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		expired.Add(1)
	} else {
		cancelled.Add(1)
	}
	return status.FromContextError(ctx.Err()).Err()
}

// The request's metadata that begin with x- come back in the header and, with -trailer behind the name, in the trailers.
func mirror(ctx context.Context) (metadata.MD, metadata.MD) {
	in, _ := metadata.FromIncomingContext(ctx)
	header, trailer := metadata.MD{}, metadata.MD{}
	for name, values := range in {
		if len(name) > 2 && name[:2] == "x-" {
			header[name] = values
			if len(name) > 4 && name[len(name)-4:] == "-bin" {
				trailer[name[:len(name)-4]+"-trailer-bin"] = values
			} else {
				trailer[name+"-trailer"] = values
			}
		}
	}
	return header, trailer
}

type unary func(context.Context, []byte) ([]byte, error)

func number(n int64) []byte { return []byte(strconv.FormatInt(n, 10)) }

var unaries = map[string]unary{
	"Unary": func(ctx context.Context, in []byte) ([]byte, error) {
		header, trailer := mirror(ctx)
		if err := grpc.SetHeader(ctx, header); err != nil {
			return nil, err
		}
		return in, grpc.SetTrailer(ctx, trailer)
	},
	// Answers with trailers alone: CODE MESSAGE in the request.
	"Fail": func(_ context.Context, in []byte) ([]byte, error) {
		var code int
		if _, err := fmt.Sscanf(string(in), "%d", &code); err != nil {
			return nil, err
		}
		return nil, status.Error(codes.Code(code), string(in[len(strconv.Itoa(code))+1:]))
	},
	// Never answers: ends with its context.
	"Hang":      func(ctx context.Context, _ []byte) ([]byte, error) { <-ctx.Done(); return nil, note(ctx) },
	"Cancelled": func(context.Context, []byte) ([]byte, error) { return number(cancelled.Load()), nil },
	"Expired":   func(context.Context, []byte) ([]byte, error) { return number(expired.Load()), nil },
	// Milliseconds until the deadline that arrived here; -1: none.
	"Deadline": func(ctx context.Context, _ []byte) ([]byte, error) {
		at, ok := ctx.Deadline()
		if !ok {
			return number(-1), nil
		}
		return number(time.Until(at).Milliseconds()), nil
	},
	// As many bytes as asked for.
	"Large": func(_ context.Context, in []byte) ([]byte, error) {
		n, err := strconv.Atoi(string(in))
		if err != nil || n < 0 || n > maxMessage {
			return nil, status.Error(codes.InvalidArgument, "not a size")
		}
		return pattern(n), nil
	},
}

func pattern(n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(i*7 + i>>8)
	}
	return out
}

func handler(f unary) func(any, context.Context, func(any) error, grpc.UnaryServerInterceptor) (any, error) {
	return func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		var in bytesValue
		if err := decode(&in); err != nil {
			return nil, err
		}
		out, err := f(ctx, in.GetValue())
		if err != nil {
			return nil, err
		}
		return wrapperspb.Bytes(out), nil
	}
}

// COUNT: so many messages "0", "1", ...; the last is followed by trailers.
func serverStream(_ any, s grpc.ServerStream) error {
	var in bytesValue
	if err := s.RecvMsg(&in); err != nil {
		return err
	}
	n, err := strconv.Atoi(string(in.GetValue()))
	if err != nil {
		return status.Error(codes.InvalidArgument, "not a count")
	}
	for i := 0; i < n; i++ {
		if err := s.SendMsg(wrapperspb.Bytes(number(int64(i)))); err != nil {
			return err
		}
	}
	s.SetTrailer(metadata.Pairs("x-count", strconv.Itoa(n)))
	return nil
}

// Answers once with "MESSAGES BYTES".
func clientStream(_ any, s grpc.ServerStream) error {
	count, size := 0, 0
	for {
		var in bytesValue
		err := s.RecvMsg(&in)
		if err == io.EOF {
			return s.SendMsg(wrapperspb.Bytes(fmt.Appendf(nil, "%d %d", count, size)))
		}
		if err != nil {
			return err
		}
		count, size = count+1, size+len(in.GetValue())
	}
}

// Echo, message by message; "fail" ends the call in the middle of it.
func bidi(_ any, s grpc.ServerStream) error {
	for {
		var in bytesValue
		err := s.RecvMsg(&in)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			if s.Context().Err() != nil {
				return note(s.Context())
			}
			return err
		}
		if string(in.GetValue()) == "fail" {
			return status.Error(codes.DataLoss, "as asked, in the middle")
		}
		if err := s.SendMsg(&in); err != nil {
			return err
		}
	}
}

func describe() *grpc.ServiceDesc {
	d := &grpc.ServiceDesc{ServiceName: service, HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{
		{StreamName: "ServerStream", Handler: serverStream, ServerStreams: true},
		{StreamName: "ClientStream", Handler: clientStream, ClientStreams: true},
		{StreamName: "Bidi", Handler: bidi, ServerStreams: true, ClientStreams: true}}}
	for name, f := range unaries {
		d.Methods = append(d.Methods, grpc.MethodDesc{MethodName: name, Handler: handler(f)})
	}
	return d
}

func serve(address string, args []string) error {
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	cert := flags.String("cert", "", "certificate file; none: cleartext")
	key := flags.String("key", "", "key file")
	streams := flags.Uint("streams", 0, "most concurrent streams of a connection")
	if err := flags.Parse(args); err != nil {
		return err
	}
	options := []grpc.ServerOption{grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage)}
	if *cert != "" {
		c, err := credentials.NewServerTLSFromFile(*cert, *key)
		if err != nil {
			return err
		}
		options = append(options, grpc.Creds(c))
	}
	if *streams != 0 {
		options = append(options, grpc.MaxConcurrentStreams(uint32(*streams)))
	}
	server := grpc.NewServer(options...)
	server.RegisterService(describe(), nil)
	h := health.NewServer()
	h.SetServingStatus(service, healthpb.HealthCheckResponse_SERVING)
	healthpb.RegisterHealthServer(server, h)
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, listener.Addr().(*net.TCPAddr).Port)
	return server.Serve(listener)
}
