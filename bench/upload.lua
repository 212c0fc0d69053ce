-- 100 KiB in the body of every request.
wrk.method = "POST"
wrk.body = string.rep("x", 102400)
wrk.headers["Content-Type"] = "application/octet-stream"
