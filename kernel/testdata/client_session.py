"""Use kernel argv[1] as a front end does; print one line for each step."""
import queue
import sys
import time

from jupyter_client.manager import KernelManager

km = KernelManager(kernel_name=sys.argv[1])
km.start_kernel()
kc = km.client()
kc.start_channels()
kc.wait_for_ready(timeout=30)


def run(code, interrupt_after=None):
    msg_id = kc.execute(code)
    if interrupt_after:
        time.sleep(interrupt_after)
        km.interrupt_kernel()
    outputs = []
    while True:
        m = kc.get_iopub_msg(timeout=20)
        if m["parent_header"].get("msg_id") != msg_id:
            continue
        c = m["content"]
        if m["msg_type"] == "status" and c["execution_state"] == "idle":
            break
        if m["msg_type"] == "stream":
            outputs.append(c["name"] + ":" + c["text"].strip())
        if m["msg_type"] in ("execute_result", "display_data"):
            outputs.append(c["data"]["text/plain"])
        if m["msg_type"] == "error":
            outputs.append(c["ename"] + ": " + c["evalue"])
    while True:
        reply = kc.get_shell_msg(timeout=20)
        if reply["parent_header"].get("msg_id") == msg_id:
            break
    print(reply["content"]["status"], *outputs, flush=True)


run("x := 40")
run("x + 2")
run('import "fmt"\nfmt.Println("printed")')
run("x + ")
run("for {}", interrupt_after=0.3)
run("x + 3")
info = kc.kernel_info(reply=True, timeout=20)["content"]
print(info["implementation"], info["protocol_version"], flush=True)
print(kc.complete("fmt.Sprintl", reply=True, timeout=20)["content"]["matches"], flush=True)
print(kc.inspect("x", reply=True, timeout=20)["content"]["data"], flush=True)
msg_id = kc.is_complete("for {")
while (reply := kc.get_shell_msg(timeout=20))["parent_header"].get("msg_id") != msg_id:
    pass
print(reply["content"]["status"], flush=True)
print(kc.history(hist_access_type="tail", n=1, reply=True, timeout=20)["content"]["history"], flush=True)
print(kc.comm_info(reply=True, timeout=20)["content"]["comms"], flush=True)
kc.execute("for {}")
time.sleep(0.2)
km.restart_kernel()
kc.wait_for_ready(timeout=30)
run("x")
run("1 + 1")
print([h[::2] for h in kc.history(hist_access_type="search", pattern="x*", n=2, reply=True, timeout=20)["content"]["history"]], flush=True)
print([h[::2] for h in kc.history(hist_access_type="range", session=-1, start=6, stop=7, reply=True, timeout=20)["content"]["history"]], flush=True)
print(kc.is_alive(), flush=True)
km.shutdown_kernel()
print(km.is_alive(), flush=True)
