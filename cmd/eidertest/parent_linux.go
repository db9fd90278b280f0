package eidertest

import "syscall"

// parentDeath has the kernel end a node whose test process has died.
func parentDeath() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
