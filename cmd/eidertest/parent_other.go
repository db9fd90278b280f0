//go:build !linux

package eidertest

import "syscall"

func parentDeath() *syscall.SysProcAttr { return nil }
