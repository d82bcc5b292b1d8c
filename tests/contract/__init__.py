"""One set of guarantees, kept by the plugin under the simulated kubelets and the real one."""
