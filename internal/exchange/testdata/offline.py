# Wrote offline.wandb, with wandb 0.31.0: offline.py FOLDER
import os, wandb, sys
d=sys.argv[1]; os.makedirs(d,exist_ok=True)
r = wandb.init(project="p", mode="offline", name="a run", dir=d, config={"lr":1e-4,"model":{"channels":8},"flag":True}, tags=["good"], notes="text", settings=wandb.Settings(
    x_disable_stats=True, x_disable_meta=True, x_disable_machine_info=True, disable_git=True, save_code=False, host="host", program="offline.py",
    x_executable="python"))
for i in range(5):
    r.log({"loss": 1/(i+1), "nested": {"a": i}, "s": "text", "nan": float("nan"), "inf": float("inf")})
r.log({"loss": 0.125}, step=10)
r.finish()
