package main

import "github.com/eider-dns/eider/cmd/eider-conformance/gen"

func (r *runner) hostile(s *set, families []*gen.Family) error { return nil }
