// Command grpc is a gRPC server and a client of it in one program, for the tests of what lies between them.
//
//	grpc serve ADDRESS [-cert FILE -key FILE] [-streams N]   prints its port
//	grpc check ADDRESS [-authority HOST] [-ca FILE] [-only NAME,...]
//	                                            every kind of call; a line each: ok NAME or FAIL NAME: WHY; ends with "N passed, N failed"
//	grpc call ADDRESS [-authority HOST] [-ca FILE] METHOD   one unary call; prints CODE MESSAGE
//
// Messages are google.protobuf.BytesValue, which the module ships: no compiler of .proto files is needed.
package main

import (
	"fmt"
	"os"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: grpc serve|check|call ADDRESS ...")
		os.Exit(2)
	}
	var err error
	switch os.Args[1] {
	case "serve":
		err = serve(os.Args[2], os.Args[3:])
	case "check":
		err = check(os.Args[2], os.Args[3:])
	case "call":
		err = call(os.Args[2], os.Args[3:])
	default:
		err = fmt.Errorf("no such command: %s", os.Args[1])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
